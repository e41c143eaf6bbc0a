// The public surface of the package: re-exports, and nothing else.
export type { AppliedFeature, BackendName, BackendPlan } from './backends/backend.ts';
export { backendNames } from './backends/backend.ts';
export { discardChanges, listChanges, openChanges } from './changes/api.ts';
export type { ApplyReport, CaptureSummary, Change, ChangedType, Changes, ExportFormat } from './changes/types.ts';
export {
  BackendError,
  type CandidateReason,
  CommandError,
  type ExecReason,
  FeatureError,
  formatPath,
  ImageError,
  InternalError,
  isSandboxError,
  LaunchError,
  type MissingFeature,
  SandboxError,
  SpecError,
  type SpecIssue,
} from './errors/errors.ts';
export { type Availability, type Feature, features } from './features/feature.ts';
export type { BackendSummary, Facility, Finding, HostReport } from './host/types.ts';
export { collectImages, type Image, type ImageLayer, listImages, openImage, pushChanges } from './image/api.ts';
export type { PullProgress } from './image/open/oci.ts';
export type { ImageOptions } from './image/open/open.ts';
export type { ImageSummary } from './image/prepare.ts';
export type { PushedImage, PushOptions } from './image/push.ts';
export type { Collected } from './image/store/store.ts';
export { run, spawn } from './run/api.ts';
export type { HandlerResults } from './run/around.ts';
export { type ToolName, toolNames } from './run/as/tools.ts';
export { explain } from './run/explain.ts';
export { type PodOptions, type PodResult, runPod } from './run/pod.ts';
export { probe } from './run/probe.ts';
export { createSandbox } from './run/sandbox.ts';
export type {
  Enforcement,
  Equivalent,
  Explanation,
  InputData,
  InputSource,
  Outcome,
  Output,
  OutputTarget,
  RunEvent,
  RunOptions,
  RunResult,
  Sandbox,
  SandboxOptions,
  SandboxProcess,
  SyscallAnswer,
  SyscallCall,
  SyscallReport,
  Usage,
  WrappedCommand,
} from './run/types.ts';
export { wrap } from './run/wrap.ts';
export type { DeniedCall } from './seccomp/denied.ts';
export type {
  Bytes,
  EnvSpec,
  IdMapping,
  LandlockAccess,
  LandlockScope,
  LandlockSpec,
  Limits,
  Milliseconds,
  MountSpec,
  NetworkPolicy,
  OciSeccomp,
  OciSeccompArchitecture,
  OciSeccompArg,
  OciSeccompCondition,
  OciSeccompRule,
  RootSpec,
  SandboxSpec,
  SyscallAction,
  SyscallRule,
  TerminalSize,
  UserSpec,
  WorkspaceSpec,
} from './spec/types.ts';
