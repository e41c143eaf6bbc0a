// From an image's configuration to a sandbox and a command in it. Pure: the root is asked for its accounts, and nothing else.
import { constants } from 'node:os';
import { ImageError, printable, type SpecIssue } from '../../errors/errors.ts';
import { cleanPath } from '../../spec/paths.ts';
import type { SandboxSpec } from '../../spec/types.ts';
import { listSome } from '../place.ts';
import type { OciImageConfig } from './config.ts';
import { architectureOf, formatPlatform } from './platform.ts';
import { type ReadAccounts, resolveImageUser } from './user.ts';

export interface OciContext {
  /** The root that the layers make, on this host. */
  readonly root: string;
  readonly accounts: ReadAccounts;
  /** What the programs of this host are made for, in Node's words. */
  readonly architecture: string;
  /** Takes the place of `Cmd`; the entry point stays. */
  readonly command?: readonly string[];
  /** Takes the place of the entry point, and of `Cmd`, which was made for the other one. Empty: none. */
  readonly entrypoint?: readonly string[];
  /** In place of the image's own. */
  readonly user?: string;
  readonly workingDir?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly readonly?: boolean;
  readonly changes?: 'discard' | 'keep' | 'capture';
}

export interface OciRun {
  readonly spec: SandboxSpec;
  readonly command: readonly [string, ...string[]];
  /** What ends the command politely: `options.killSignal` of a run. */
  readonly stopSignal: NodeJS.Signals | undefined;
  readonly notes: readonly string[];
}

/** @throws {ImageError} where there is no command, no such user, or no way to run its programs here. */
export function ociToSpec(config: OciImageConfig, context: OciContext): OciRun {
  const command = commandOf(config, context);
  const notes = config.notes.map(({ path, message }) => `${path.join('.')}: ${message}`);
  const architecture = checkPlatform(config, context);
  const { readonly = false, changes = 'discard' } = context;
  const volumes = config.volumes.map(absolute);
  if (volumes.length > 0 && !readonly && changes === 'discard')
    notes.push(
      `what is written to ${listSome(volumes)} is given up with all other changes, unless something is mounted there`,
    );
  return {
    spec: {
      root: readonly
        ? { path: context.root, readonly, ...(volumes.length === 0 ? {} : { writablePaths: volumes }) }
        : { path: context.root, readonly, changes },
      cwd: absolute(context.workingDir ?? config.workingDir),
      env: { set: Object.fromEntries([...config.env, ...Object.entries(context.environment ?? {})]) },
      user: resolveImageUser(context.user ?? config.user, context.accounts),
      ...(architecture === undefined ? {} : { architecture }),
    },
    command,
    stopSignal: signalOf(config.stopSignal, notes),
    notes: notes.map(printable),
  };
}

function commandOf(config: OciImageConfig, { command, entrypoint }: OciContext): readonly [string, ...string[]] {
  const [first, ...rest] = [
    ...(entrypoint ?? config.entrypoint),
    ...(command ?? (entrypoint === undefined ? config.cmd : [])),
  ];
  if (first !== undefined && first !== '') return [first, ...rest];
  throw new ImageError('SBX_IMAGE_UNSUPPORTED', 'the image names no command', {}, { remedy: 'name one to run in it' });
}

function checkPlatform({ platform }: OciImageConfig, { architecture }: OciContext): SandboxSpec['architecture'] {
  const ours = architectureOf(platform.architecture);
  if (platform.os === 'linux' && ours !== undefined) return ours === architecture ? undefined : ours;
  throw new ImageError(
    'SBX_IMAGE_PLATFORM',
    `the image is for ${formatPlatform(platform)}, which neither this host (linux, ${architecture}) nor an emulator here runs`,
  );
}

/** Docker takes a relative directory for one below the root, and an empty one for the root. */
function absolute(path: string): string {
  return cleanPath(`/${path}`);
}

function signalOf(text: string | undefined, notes: string[]): NodeJS.Signals | undefined {
  if (text === undefined) return undefined;
  const known = Object.entries(constants.signals) as [NodeJS.Signals, number][];
  const found = known.find(([name, number]) => name === text || name === `SIG${text}` || String(number) === text);
  if (found === undefined) notes.push(`the image would be stopped by ${text}, which has no name here: SIGTERM is sent`);
  return found?.[0];
}

/** What a manifest and a configuration must agree on before anything is unpacked. @throws {ImageError} `SBX_IMAGE_INVALID` */
export function checkLayers(
  { layers }: { readonly layers: readonly unknown[] },
  { diffIds }: Pick<OciImageConfig, 'diffIds'>,
): void {
  if (layers.length === diffIds.length) return;
  const issues: SpecIssue[] = [
    {
      path: ['rootfs', 'diff_ids'],
      message: `has ${diffIds.length} elements, and the manifest has ${layers.length} layers`,
    },
  ];
  throw new ImageError('SBX_IMAGE_INVALID', 'the manifest and the configuration are of two images', { issues });
}
