// Where this package lies: from `src/`, from `dist/` and from the bundle of the command line, which are not equally deep.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

let found: string | undefined;

/** Absolute path of the directory of our `package.json`, with a slash at its end. */
export function packageRoot(): string {
  if (found !== undefined) return found;
  let directory = new URL('.', import.meta.url);
  while (!existsSync(new URL('package.json', directory))) {
    const above = new URL('..', directory);
    if (above.href === directory.href) throw new Error('sandboxlib lies in no package');
    directory = above;
  }
  found = fileURLToPath(directory);
  return found;
}
