// `runPod`: several sandboxes that have namespaces in common. What does the work is loaded when somebody asks.
import type { RunOptions, RunResult } from './types.ts';

/** As of `run`, for each app; and where the images and volumes are that a pod only names. */
export interface PodOptions
  extends Pick<
    RunOptions,
    'stdout' | 'stderr' | 'encoding' | 'stripFinalNewline' | 'signal' | 'killSignal' | 'gracePeriodMs' | 'image'
  > {
  /** Features that an app may lack. */
  readonly optional?: RunOptions['optional'];
  /** Archives of the images that the apps name by their image ID; those that the store has need not be named. */
  readonly images?: readonly string[];
  /** Directories and files of this host, by the name of a volume: in place of the pod's own volume of that name, or beside them. */
  readonly volumes?: Readonly<Record<string, string | { readonly source: string; readonly readOnly?: boolean }>>;
}

export interface PodResult {
  /** RFC 4122, of this run; apps have it as AC_POD_UUID. */
  readonly uuid: string;
  /** By the name of the app, in the order of the manifest. */
  readonly apps: Readonly<Record<string, RunResult>>;
}

/**
 * Runs all apps of a pod together, and ends when the last of them has.
 *
 * @param manifest - the pod manifest, as JSON.
 * @throws {ImageError} `SBX_IMAGE_INVALID`, `SBX_IMAGE_UNSUPPORTED` with every issue of the manifest and of each app, before anything is started.
 * @throws {FeatureError | BackendError | LaunchError} where a sandbox cannot be had; then all of the pod is gone.
 * @example const { apps } = await runPod(await readFile('pod.json', 'utf8'), { images: ['main.aci', 'sidekick.aci'] });
 */
export async function runPod(manifest: string | Uint8Array, options: PodOptions = {}): Promise<PodResult> {
  const { runPodOf } = await import('./running-pod.ts');
  return await runPodOf(manifest, options);
}
