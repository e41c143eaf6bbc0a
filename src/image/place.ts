// Reading a document that somebody else wrote: a value, where it stands, and what is wrong with it. Nothing is thrown on the way, so that a
// person sees all of it at once; what a reader returns means something only when nothing was reported.
import { ImageError, type ImageErrorCode, printableIssue, type SpecIssue } from '../errors/errors.ts';
import { nearest } from '../spec/nearest.ts';
import { describeValue, joinWords } from '../spec/words.ts';

type Path = SpecIssue['path'];
/** Why not, or nothing. */
type Check = (value: string) => string | undefined;

/** Of each kind; the rest is counted. A document may have as many as characters. */
const FINDINGS_MAX = 1000;
/** Of any list or object: nothing that somebody wrote has more. */
const ELEMENTS_MAX = 10_000;

/** What reading found: `issues` make the document useless, `notes` are passed over and must be shown. */
class Findings {
  readonly issues: SpecIssue[] = [];
  readonly notes: SpecIssue[] = [];
  #moreIssues = 0;
  #moreNotes = 0;

  issue(issue: SpecIssue): void {
    if (this.issues.length < FINDINGS_MAX) this.issues.push(issue);
    else this.#moreIssues += 1;
  }

  /** `make` is not called for what is only counted: to find words for it takes time. */
  note(make: () => SpecIssue): void {
    if (this.notes.length < FINDINGS_MAX) this.notes.push(printableIssue(make()));
    else this.#moreNotes += 1;
  }

  finish(): void {
    if (this.#moreIssues > 0) this.issues.push({ path: [], message: `and ${this.#moreIssues} more` });
    if (this.#moreNotes > 0) this.notes.push({ path: [], message: `and ${this.#moreNotes} more` });
  }
}

export class Place {
  readonly value: unknown;
  readonly path: Path;
  readonly #findings: Findings;

  constructor(value: unknown, path: Path, findings: Findings) {
    this.value = value;
    this.path = path;
    this.#findings = findings;
  }

  /** `null` counts as left out: that is what the programs write that most of these documents come from. */
  get present(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  report(message: string): undefined {
    this.#findings.issue({ path: this.path, message });
    return undefined;
  }

  note(message: string | (() => string)): void {
    const { path } = this;
    this.#findings.note(() => ({ path, message: typeof message === 'string' ? message : message() }));
  }

  at(key: string | number): Place {
    const { value } = this;
    const found = isContainer(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    return new Place(found, [...this.path, key], this.#findings);
  }

  /** Whether this is an object. A key that is not `known` is noted: extensions are allowed, a misspelt key is to be seen. */
  isObject(known: readonly string[] | 'any'): boolean {
    if (!this.present) return this.#missing();
    if (!isContainer(this.value) || Array.isArray(this.value)) return this.#unlike('an object');
    if (known === 'any') return true;
    for (const key of Object.keys(this.value)) {
      if (known.includes(key)) continue;
      this.at(key).note(() => {
        const meant = nearest(key, known);
        return `is not known here and passed over${meant === undefined ? '' : `; did you mean '${meant}'?`}`;
      });
    }
    return true;
  }

  /** Required; empty where something was reported. */
  string(check?: Check): string {
    if (!this.present) this.#missing();
    return this.optionalString(check) ?? '';
  }

  optionalString(check?: Check): string | undefined {
    if (!this.present) return undefined;
    const { value } = this;
    if (typeof value !== 'string') {
      this.#unlike('a string');
      return undefined;
    }
    const problem = check?.(value);
    if (problem !== undefined) this.report(problem);
    return value;
  }

  oneOf<Word extends string>(words: readonly Word[]): Word | undefined {
    const value = this.string();
    const word = words.find((known) => known === value);
    if (word === undefined && typeof this.value === 'string') {
      const quoted = words.map((known) => `'${known}'`);
      this.report(`must be ${joinWords(quoted, 'or')}, not '${shorten(value)}'`);
    }
    return word;
  }

  boolean(): boolean | undefined {
    if (!this.present) return undefined;
    if (typeof this.value === 'boolean') return this.value;
    this.#unlike('true or false');
    return undefined;
  }

  integer(min: number, max: number = Number.MAX_SAFE_INTEGER): number | undefined {
    if (!this.present) return undefined;
    const { value } = this;
    if (typeof value !== 'number' && typeof value !== 'bigint') {
      this.#unlike('a whole number');
      return undefined;
    }
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    return this.report(`must be a whole number from ${min} to ${max}, not ${value}`);
  }

  requiredInteger(min: number, max?: number): number {
    if (!this.present) this.#missing();
    return this.integer(min, max) ?? min;
  }

  /** Left out: an empty list. */
  list<T>(read: (element: Place, index: number) => T | undefined): T[] {
    if (!this.present) return [];
    if (!Array.isArray(this.value)) {
      this.#unlike('a list');
      return [];
    }
    if (this.value.length > ELEMENTS_MAX) {
      this.report(`has ${this.value.length} elements, more than the ${ELEMENTS_MAX} that are read`);
      return [];
    }
    return this.value.flatMap((_, index) => {
      const element = read(this.at(index), index);
      return element === undefined ? [] : [element];
    });
  }

  strings(check?: Check): string[] {
    return this.list((element) => element.string(check));
  }

  /** An object whose keys mean nothing to us. Left out: empty. */
  record<T>(read: (value: Place, key: string) => T): ReadonlyMap<string, T> {
    if (!this.present || !this.isObject('any')) return new Map();
    const keys = Object.keys(this.value as object);
    if (keys.length > ELEMENTS_MAX) {
      this.report(`has ${keys.length} members, more than the ${ELEMENTS_MAX} that are read`);
      return new Map();
    }
    return new Map(keys.map((key) => [key, read(this.at(key), key)]));
  }

  #missing(): false {
    this.report('is required');
    return false;
  }

  #unlike(wanted: string): false {
    const { value } = this;
    const plain = typeof value === 'number' || typeof value === 'boolean';
    this.report(`must be ${wanted}, not ${plain ? value : describeValue(value)}`);
    return false;
  }
}

/**
 * Reads `document` by `read`.
 *
 * @throws {ImageError} with every issue; `what` the document is, for the message.
 */
export function readDocument<T>(
  document: unknown,
  what: string,
  read: (place: Place) => T,
  code: ImageErrorCode = 'SBX_IMAGE_INVALID',
): T & { readonly notes: readonly SpecIssue[] } {
  const findings = new Findings();
  const value = read(new Place(document, [], findings));
  findings.finish();
  if (findings.issues.length > 0) {
    const sentence = code === 'SBX_IMAGE_UNSUPPORTED' ? `${what} asks for what is not served` : `${what} is not valid`;
    throw new ImageError(code, sentence, { issues: findings.issues });
  }
  return { ...value, notes: findings.notes };
}

/** Reports every element whose `key` was there before. */
export function reportDuplicates(list: Place, key: string): void {
  const seen = new Map<unknown, number>();
  list.list((element, index) => {
    const { value } = element.at(key);
    const first = seen.get(value);
    if (typeof value === 'string' && first !== undefined)
      element.at(key).report(`'${shorten(value)}' is there already, at [${first}]`);
    seen.set(value, first ?? index);
    return undefined;
  });
}

/** What becomes a name in a spec: the schema library would pass over this one in silence, so that the spec refuses it. */
export function checkVariable(name: string): string | undefined {
  return name === '__proto__' ? "'__proto__' cannot be the name of a variable here" : undefined;
}

/** `a, b`; of many the first, and how many more. */
export function listSome(words: readonly string[]): string {
  const shown = words.slice(0, WORDS_SHOWN).join(', ');
  return words.length > WORDS_SHOWN ? `${shown} and ${words.length - WORDS_SHOWN} more` : shown;
}

const WORDS_SHOWN = 20;

export function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

function isContainer(value: unknown): value is Record<string | number, unknown> {
  return typeof value === 'object' && value !== null;
}
