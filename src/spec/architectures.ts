// Node's words for architectures, as in `process.arch`, of those that a spec may name.
export const architectures = ['x64', 'arm64', 'arm', 'ia32', 'riscv64'] as const;

export type Architecture = (typeof architectures)[number];
