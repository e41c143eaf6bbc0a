#!/usr/bin/env node
// run-sandbox. Asked for its version alone, it loads next to nothing. No top-level await: the bundle is CommonJS (docs/decisions/0008).

void main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});

async function main(args: readonly string[]): Promise<number> {
  if (args.length === 1 && args[0] === '--version') return (await import('./version.ts')).printVersion();
  return (await import('./dispatch.ts')).dispatch(args);
}
