// An image of squashfs as a tar archive, by sqfs2tar(1) in a sandbox of our own that sees the image and nothing else of the caller's: neither the kernel nor this
// process reads a file system that somebody else made, and what comes out is an archive like others, as hostile until shown otherwise.
import { realpathSync, statSync } from 'node:fs';
import type { LaunchedProcess } from '../backends/backend.ts';
import { loadBackend } from '../backends/registry.ts';
import { ImageError } from '../errors/errors.ts';
import { requirements } from '../features/requirements.ts';
import { callerFacts } from '../host/facts.ts';
import { type HostFiles, hostFiles } from '../host/files.ts';
import { findOnPath } from '../host/programs.ts';
import { nodeSpecHost } from '../spec/host.ts';
import { normalize } from '../spec/normalize.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { beyond } from './archive/failure.ts';
import type { ArchiveLimits } from './archive/limits.ts';

const PROGRAM = 'sqfs2tar';
const IMAGE = '/image';
const COMPLAINT_MAX = 64 * 1024;

/**
 * The bytes of the archive. `onNote` hears of what a tar archive cannot have.
 *
 * @throws {ImageError} `SBX_IMAGE_UNSUPPORTED` where the program is missing, `SBX_IMAGE_INVALID` where it fails, `SBX_IMAGE_LIMIT`.
 * @throws {LaunchError} when the sandbox for it could not be set up.
 */
export async function* readSquashfs(
  path: string,
  limits: ArchiveLimits,
  onNote?: (note: string) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = statSync(path);
  const running = await launch(requireSqfs2tar(path, hostFiles, process.env['PATH']), realpathSync(path));
  const complaint = textOf(running.stderr);
  const ended = running.ended.then(
    (end) => ({ end }),
    (error: unknown) => ({ error }),
  );
  let bytes = 0;
  try {
    for await (const chunk of running.stdout ?? []) {
      bytes += (chunk as Uint8Array).length;
      if (bytes > limits.ratioFloorBytes && bytes > limits.ratio * size)
        throw beyond('ratio', limits, `${size} bytes of it expand to ${bytes} or more`, { archive: path });
      yield chunk as Uint8Array;
    }
  } finally {
    // Whoever reads it may have had enough.
    running.kill();
  }
  const how = await ended;
  if ('error' in how) throw how.error;
  const said = (await complaint).trim().split('\n').slice(0, 3).join('; ');
  const { code, signal } = how.end;
  if (code !== 0)
    throw new ImageError(
      'SBX_IMAGE_INVALID',
      `${path}: ${PROGRAM} cannot read it: ${said === '' ? `it ended ${signal === undefined ? `with status ${code}` : `by ${signal}`}` : said}`,
      { archive: path },
    );
  if (said !== '') onNote?.(`${path}: ${said}`);
}

/** @throws {ImageError} `SBX_IMAGE_UNSUPPORTED` */
export function requireSqfs2tar(path: string, files: HostFiles, searched: string | undefined): string {
  const program = findOnPath(files, PROGRAM, searched);
  if (program !== undefined) return program;
  throw new ImageError(
    'SBX_IMAGE_UNSUPPORTED',
    `${path} is an image of squashfs, and ${PROGRAM}, which reads one, is not on PATH`,
    { archive: path },
    { remedy: 'install it (Debian: squashfs-tools-ng)' },
  );
}

async function launch(program: string, image: string): Promise<LaunchedProcess> {
  const backend = await loadBackend('native');
  const facts = callerFacts();
  const spec: SandboxSpec = {
    mounts: [{ type: 'bind', source: image, destination: IMAGE, readonly: true }],
    user: { uid: 0, gid: 0 },
    network: 'none',
    // Files that root may read as everything else.
    capabilities: ['CAP_DAC_OVERRIDE'],
  };
  const { uid, gid } = facts;
  const granted = requirements(spec, { caller: { uid, gid }, descriptors: false });
  const plan = backend.plan(normalize(spec, nodeSpecHost()), granted, facts);
  return backend.launch(plan, {
    // With an entry for the top, which has an owner and a mode.
    command: [program, '--root-becomes', '.', IMAGE],
    stdio: ['ignore', 'pipe', 'pipe'],
    killSignal: 'SIGKILL',
    gracePeriodMs: 0,
  });
}

async function textOf(stream: LaunchedProcess['stderr']): Promise<string> {
  let text = '';
  for await (const chunk of stream ?? []) if (text.length < COMPLAINT_MAX) text += (chunk as Buffer).toString();
  return text;
}
