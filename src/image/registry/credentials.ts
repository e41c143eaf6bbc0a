// What `docker login`, `podman login` and `skopeo login` keep (containers-auth.json(5)): read, never written.
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ImageError } from '../../errors/errors.ts';
import type { Credentials } from './auth.ts';

/** In the order in which they are asked. */
function files(env: NodeJS.ProcessEnv): string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, DOCKER_CONFIG } = env;
  if (REGISTRY_AUTH_FILE) return [REGISTRY_AUTH_FILE];
  return [
    ...(XDG_RUNTIME_DIR ? [join(XDG_RUNTIME_DIR, 'containers', 'auth.json')] : []),
    join(DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json'),
  ];
}

/** Docker's registry is known there by an address of its first version. */
const names: Readonly<Record<string, readonly string[]>> = {
  'docker.io': ['docker.io', 'index.docker.io', 'https://index.docker.io/v1/'],
};

interface AuthFile {
  readonly auths?: Readonly<Record<string, { readonly auth?: unknown }>>;
}

/**
 * Those of a registry; `undefined` where nobody has logged in. Programs that keep them elsewhere (`credHelpers`) are not asked.
 *
 * @throws {ImageError} `SBX_IMAGE_REGISTRY` where a file is there and cannot be understood.
 */
export function storedCredentials(registry: string, env: NodeJS.ProcessEnv = process.env): Credentials | undefined {
  for (const file of files(env)) {
    const auths = readAuths(file);
    for (const name of names[registry] ?? [registry, `https://${registry}`]) {
      const auth = Object.hasOwn(auths, name) ? auths[name]?.auth : undefined;
      if (typeof auth === 'string' && auth !== '') return decode(auth, file);
    }
  }
  return undefined;
}

function readAuths(file: string): NonNullable<AuthFile['auths']> {
  try {
    const { auths } = JSON.parse(readFileSync(file, 'utf8')) as AuthFile;
    return typeof auths === 'object' && auths !== null ? auths : {};
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return {};
    const why = code ?? 'it is no JSON';
    throw new ImageError(
      'SBX_IMAGE_REGISTRY',
      `credentials cannot be read from ${file} (${why})`,
      {},
      { cause: error },
    );
  }
}

function decode(auth: string, file: string): Credentials {
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  // What it holds is a secret, and in no message.
  if (colon < 1) throw new ImageError('SBX_IMAGE_REGISTRY', `an entry of ${file} is not USER:PASSWORD in base64`);
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
