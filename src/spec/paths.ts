// Absolute POSIX paths as text. Nothing here looks at a file system.

/** `/a//b/./c/` as `/a/b/c`. `..` stays: what it means depends on symlinks. */
export function cleanPath(path: string): string {
  if (!needsCleaning.test(path)) return path;
  return `/${components(path).join('/')}`;
}

// Nearly every path is clean already, and this runs for each mount of each run.
const needsCleaning = /\/\/|\/\.(?:\/|$)|.\/$|^[^/]/;

/** The names of a path, without empty ones and `.`. */
export function components(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

export function hasParentComponent(path: string): boolean {
  return path.includes('..') && path.split('/').includes('..');
}

/** Whether clean `path` is clean `ancestor` or lies below it. */
export function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || ancestor === '/' || (path.startsWith(ancestor) && path[ancestor.length] === '/');
}

/** The directories above a clean absolute path, nearest first, without `/`. */
export function* directoriesAbove(path: string): Generator<string> {
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) yield path.slice(0, end);
}

/** Clean `name` below clean `directory`. */
export function below(directory: string, name: string): string {
  return directory === '/' ? `/${name}` : `${directory}/${name}`;
}

/** The directory that holds all of these, or is one of them. Preconditions: they are absolute and clean. */
export function commonParent(paths: readonly [string, ...string[]]): string {
  const [first] = paths;
  const candidates = [first, ...directoriesAbove(first)];
  return candidates.find((directory) => paths.every((path) => isWithin(path, directory))) ?? '/';
}
