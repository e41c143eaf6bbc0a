// A host in memory, for everything that normalization looks at.
import type { FileKind, FileText, Found, IdRange, SpecHost } from '../../src/spec/host.ts';

export type Node =
  | { readonly kind: 'directory'; readonly entries: Map<string, Node> }
  | { readonly kind: 'file'; readonly text: string }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: Exclude<FileKind, 'directory' | 'file' | 'symlink'> };

/** Text of a file; an object is a directory; `->x` a symlink; `!FIFO` and its like something else. */
export interface Tree {
  readonly [name: string]: string | Tree;
}

export function toNode(tree: string | Tree): Node {
  if (typeof tree !== 'string') {
    return { kind: 'directory', entries: new Map(Object.entries(tree).map(([name, inner]) => [name, toNode(inner)])) };
  }
  if (tree.startsWith('->')) return { kind: 'symlink', target: tree.slice(2) };
  if (tree.startsWith('!')) return { kind: tree.slice(1) as 'FIFO' };
  return { kind: 'file', text: tree };
}

export interface MemoryHostOptions {
  readonly tree?: Tree;
  readonly root?: Node;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  readonly username?: string | undefined;
  readonly home?: string;
  /** Where other file systems are mounted. */
  readonly mounts?: readonly string[];
  readonly ranges?: readonly IdRange[];
  readonly mayMapIds?: boolean;
}

/** An ordinary Debian host, as far as it is looked at. */
export const ordinaryTree: Tree = {
  bin: '->usr/bin',
  dev: {},
  etc: {
    group: 'root:x:0:\nusers:x:100:alice\nwww-data:x:33:\nalice:x:1000:\nbuild:x:1500:alice,web\n',
    passwd:
      'root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\nweb:x:33:33:web:/var/www:/usr/sbin/nologin\n',
    subgid: 'alice:200000:65536\n',
    subuid: 'root:1:1\nalice:100000:65536\n',
  },
  home: {
    alice: {
      'a:b': {},
      fifo: '!FIFO',
      link: '->src',
      notes: 'text',
      secret: 'text',
      socket: '!socket',
      src: { main: {} },
    },
  },
  opt: {},
  proc: {},
  root: {},
  tmp: {},
  usr: { bin: { true: 'elf' }, lib: {}, local: { bin: {} } },
  var: { log: {} },
};

/** Every host path that was looked at is in `looked`. */
export class MemoryHost implements SpecHost {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly uid: number;
  readonly gid: number;
  readonly username: string | undefined;
  readonly home: string | undefined;
  readonly mayMapIds: boolean;
  readonly uidRanges: readonly IdRange[];
  readonly gidRanges: readonly IdRange[];
  readonly looked: string[] = [];
  readonly #root: Node;
  readonly #mounts: readonly string[];

  constructor(options: MemoryHostOptions = {}) {
    this.#root = options.root ?? toNode(options.tree ?? ordinaryTree);
    this.#mounts = options.mounts ?? [];
    this.cwd = options.cwd ?? '/home/alice';
    this.env = options.env ?? { HOME: '/home/alice', LC_ALL: 'C', LC_TIME: 'C', TERM: 'vt100', TOKEN: 'secret' };
    this.uid = options.uid ?? 1000;
    this.gid = options.gid ?? 1000;
    this.username = 'username' in options ? options.username : 'alice';
    this.home = options.home ?? '/home/alice';
    this.mayMapIds = options.mayMapIds ?? this.uid === 0;
    this.uidRanges = options.ranges ?? [{ start: 0, size: 4_294_967_295 }];
    this.gidRanges = this.uidRanges;
  }

  stat(path: string): Found {
    return found(this.#walk(path, true)?.node);
  }

  lstat(path: string): Found {
    return found(this.#walk(path, false)?.node);
  }

  readlink(path: string): string | undefined {
    const node = this.#walk(path, false)?.node;
    return node?.kind === 'symlink' ? node.target : undefined;
  }

  realpath(path: string): string | undefined {
    const place = this.#walk(path, true);
    return place?.node === undefined ? undefined : place.path;
  }

  readFile(path: string, maxBytes: number): FileText {
    const node = this.#walk(path, false)?.node;
    if (node?.kind !== 'file') return { because: `it is a ${node?.kind ?? 'nothing'}` };
    return node.text.length > maxBytes ? { because: `it is larger than ${maxBytes} bytes` } : { text: node.text };
  }

  mountsBelow(path: string): readonly string[] {
    return this.#mounts.filter((mount) => mount.startsWith(path === '/' ? '/' : `${path}/`));
  }

  /** As the kernel of the host resolves: symlinks lead anywhere. */
  #walk(path: string, follow: boolean): { node: Node; path: string } | undefined {
    this.looked.push(path);
    const pending = path
      .split('/')
      .filter((name) => name !== '' && name !== '.')
      .reverse();
    let trail: { name: string; node: Node }[] = [];
    let links = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      const here: Node = trail.at(-1)?.node ?? this.#root;
      if (here.kind !== 'directory') return undefined;
      if (name === '..') {
        trail.pop();
        continue;
      }
      const node = here.entries.get(name);
      if (node === undefined) return undefined;
      if (node.kind === 'symlink' && (follow || pending.length > 0)) {
        links += 1;
        if (links > 40) return undefined;
        if (node.target.startsWith('/')) trail = [];
        pending.push(
          ...node.target
            .split('/')
            .filter((part) => part !== '' && part !== '.')
            .reverse(),
        );
        continue;
      }
      trail.push({ name, node });
    }
    return { node: trail.at(-1)?.node ?? this.#root, path: `/${trail.map(({ name }) => name).join('/')}` };
  }
}

function found(node: Node | undefined): Found {
  return node === undefined ? { kind: 'nothing', errno: 'ENOENT' } : { kind: node.kind };
}
