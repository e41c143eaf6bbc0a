// Reads an argument vector by the option table. Options end at `--` or at the first operand, so that the command's own are never ours.
import { nearest } from '../spec/nearest.ts';
import { type Draft, type Mode, newDraft, type Option, servesMode } from './option.ts';
import { options } from './options.ts';

export interface Parsed {
  readonly draft: Draft;
  /** Everything after the options. */
  readonly operands: readonly string[];
  /** `--` stood before the operands: the first is the command, whatever it looks like. */
  readonly ended: boolean;
  /** What is wrong, all of it, one line each. */
  readonly problems: readonly string[];
}

/** `mixed`: options may stand after operands, up to `--`: where none of the operands is a command. */
export function parse(args: readonly string[], mode: Mode, order: 'first' | 'mixed' = 'first'): Parsed {
  const draft = newDraft();
  const operands: string[] = [];
  const problems: string[] = [];
  const given = new Map<string, string>();

  const apply = (option: Option, spelled: string, value: string): void => {
    const key = option.key ?? option.name;
    const said = `--${option.name}${option.value === undefined ? '' : `=${value}`}`;
    const before = given.get(key);
    given.set(key, said);
    if (option.repeatable !== true && before !== undefined) {
      // Saying the same thing twice, as an alias and a person may, is no contradiction.
      if (before !== said) problems.push(`${before} and ${said}: only one of them can count`);
      return;
    }
    const problem = option.apply(draft, value);
    if (problem !== undefined) problems.push(`${spelled}: ${problem}`);
  };

  let index = 0;
  const attachedOrNext = (option: Option, spelled: string, attached: string | undefined): void => {
    if (option.value === undefined) {
      if (attached === undefined) apply(option, spelled, '');
      else problems.push(`${spelled} takes no value, but got '${attached}'`);
    } else if (attached !== undefined || option.valueOptional) {
      apply(option, spelled, attached ?? '');
    } else {
      const next = args[index];
      if (next === undefined) problems.push(`${spelled} needs a value: ${spelled} ${option.value}`);
      else if (next.length > 1 && next.startsWith('-')) {
        problems.push(
          `${spelled} needs a value before ${next}; a value that begins with - is attached: ${spelled}=${next}`,
        );
      } else {
        index += 1;
        apply(option, spelled, next);
      }
    }
  };

  while (index < args.length) {
    const argument = args[index] ?? '';
    if (argument === '--')
      return { draft, operands: [...operands, ...args.slice(index + 1)], ended: operands.length === 0, problems };
    const isOperand = argument.length < 2 || !argument.startsWith('-');
    if (isOperand && order === 'first') break;
    index += 1;
    if (isOperand) {
      operands.push(argument);
      continue;
    }
    const equals = argument.indexOf('=');
    const name = equals === -1 ? argument : argument.slice(0, equals);
    const attached = equals === -1 ? undefined : argument.slice(equals + 1);
    if (name.startsWith('--')) {
      const option = options.find((candidate) => `--${candidate.name}` === name);
      if (option !== undefined && servesMode(option, mode)) attachedOrNext(option, name, attached);
      else {
        const meant = option ?? nearestOption(name, mode);
        problems.push(unknown(name, option, meant, mode));
        // So that what follows is still checked: its value is no operand.
        if (attached === undefined && meant?.value !== undefined && meant.valueOptional !== true) index += 1;
      }
      continue;
    }
    // Short options may be written together; a value belongs to the last of them.
    const letters = [...name.slice(1)];
    letters.forEach((letter, position) => {
      const option = options.find((candidate) => candidate.short === letter);
      const value = position === letters.length - 1 ? attached : undefined;
      if (option === undefined || !servesMode(option, mode))
        problems.push(unknown(`-${letter}`, option, undefined, mode));
      else attachedOrNext(option, `-${letter}`, value);
    });
  }
  return { draft, operands: [...operands, ...args.slice(index)], ended: false, problems };
}

function unknown(spelled: string, known: Option | undefined, meant: Option | undefined, mode: Mode): string {
  if (known !== undefined) return `${spelled} means nothing to ${mode === 'run' ? 'a run' : mode}`;
  return `unknown option ${spelled}${meant === undefined ? '' : `; did you mean --${meant.name}?`}`;
}

function nearestOption(spelled: string, mode: Mode): Option | undefined {
  const known = options.filter((candidate) => servesMode(candidate, mode));
  const name = nearest(
    spelled.slice(2),
    known.map((option) => option.name),
  );
  return known.find((option) => option.name === name);
}
