// Names of a tree of files, each with something to remember, by the components of their paths. Pure.

export class NameTree<Value> {
  readonly below: Map<string, NameTree<Value>> = new Map();
  value: Value | undefined;

  /** The node at a path, `''` being this one. */
  find(path: string): NameTree<Value> | undefined {
    let at: NameTree<Value> | undefined = this;
    for (const component of componentsOf(path)) at = at?.below.get(component);
    return at;
  }

  /** The same, made where missing, and those above it. */
  at(path: string): NameTree<Value> {
    let at: NameTree<Value> = this;
    for (const component of componentsOf(path)) {
      let next = at.below.get(component);
      if (next === undefined) {
        next = new NameTree();
        at.below.set(component, next);
      }
      at = next;
    }
    return at;
  }

  /** With all that is below it. */
  remove(path: string): void {
    const slash = path.lastIndexOf('/');
    this.find(path.slice(0, Math.max(slash, 0)))?.below.delete(path.slice(slash + 1));
  }

  /** Every node, those above a node before it. */
  *all(path = ''): Generator<readonly [path: string, value: Value | undefined], void, undefined> {
    yield [path, this.value];
    for (const [name, node] of this.below) yield* node.all(join(path, name));
  }

  /** Every node that has a value, those below a node before it. */
  *deepestFirst(path = ''): Generator<readonly [path: string, value: Value], void, undefined> {
    for (const [name, node] of this.below) yield* node.deepestFirst(join(path, name));
    if (this.value !== undefined) yield [path, this.value];
  }
}

function componentsOf(path: string): readonly string[] {
  return path === '' ? [] : path.split('/');
}

export function join(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`;
}
