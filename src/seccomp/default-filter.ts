// The compiled default profile, ready to install. Compiling it takes some 10 ms in a fresh process, more than a whole sandbox, so it was done
// beforehand: `default-filter-data.ts` holds the program with a mark in place of each answer that depends on a capability.
import { MARK_BASE, marked, questions } from './default-filter-data.ts';

export interface DefaultFilterOptions {
  readonly architecture: 'x64' | 'arm64';
  /** Capabilities that the command keeps, by name; each opens the calls that only make sense with it. */
  readonly capabilities?: readonly string[];
}

/** Same verdicts as `compileSeccomp(defaultProfile(options), options)`. The array is shared between callers: copy it before you write to it. */
export function defaultFilter(options: DefaultFilterOptions): Uint8Array {
  const kept = new Set(options.capabilities);
  const answers = questions.map(({ unless }) => unless.some((capability) => kept.has(capability)));
  const key = `${options.architecture} ${answers.join(' ')}`;
  const known = filters.get(key);
  if (known !== undefined) return known;
  const filter = answered(marked[options.architecture], answers);
  filters.set(key, filter);
  return filter;
}

const filters = new Map<string, Uint8Array>();

const RET_K = 0x06;
const RET_ERRNO = 0x00050000;
const RET_ALLOW = 0x7fff0000;

function answered(base64: string, answers: readonly boolean[]): Uint8Array {
  const filter = new Uint8Array(Buffer.from(base64, 'base64'));
  const view = new DataView(filter.buffer);
  for (let offset = 0; offset < filter.length; offset += 8) {
    if (view.getUint16(offset, true) !== RET_K) continue;
    const index = view.getUint32(offset + 4, true) - RET_ERRNO - MARK_BASE;
    const question = questions[index];
    if (question !== undefined)
      view.setUint32(offset + 4, answers[index] === true ? RET_ALLOW : RET_ERRNO + question.errno, true);
  }
  return filter;
}
