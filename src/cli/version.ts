// `--version`.
import { readFileSync } from 'node:fs';
import { packageRoot } from '../host/package-root.ts';
import { writeAll } from './write.ts';

export function printVersion(): number {
  const manifest = JSON.parse(readFileSync(`${packageRoot()}package.json`, 'utf8')) as { version: string };
  writeAll(1, `run-sandbox ${manifest.version}\n`);
  return 0;
}
