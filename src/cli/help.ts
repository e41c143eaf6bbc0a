// `--help` and `help`.
import { sayUsage } from './failure.ts';
import { groups, type Mode, type Option, servesMode, spelling, subcommands, valueSpelling } from './option.ts';
import { options } from './options.ts';
import type { Parsed } from './parse.ts';
import { summaries, usages } from './texts.ts';
import { writeAll } from './write.ts';

const WIDTH = 100;
const COLUMN = 36;

export function printHelp(mode: Mode): number {
  writeAll(1, helpText(mode));
  return 0;
}

/** `help` alone is that of a run. */
export function helpCommand({ operands, problems }: Parsed): number {
  const [word = 'run', ...more] = operands;
  const mode = word === 'run' ? word : subcommands.find((name) => name === word);
  const all = [...problems];
  if (mode === undefined) all.push(`there is no help on '${word}': known are ${subcommands.join(', ')}`);
  if (more.length > 0) all.push(`help takes one word, not also ${more.join(' ')}`);
  return all.length > 0 || mode === undefined ? sayUsage(all) : printHelp(mode);
}

export function helpText(mode: Mode): string {
  const lines = [...usages(mode).map((usage, index) => `${index === 0 ? 'Usage:' : '      '} ${usage}`), ''];
  lines.push(...wrap(summaries[mode], 0), '');
  for (const group of groups) {
    const shown = options.filter((option) => option.group === group && servesMode(option, mode));
    if (shown.length > 0) lines.push(`${group}:`, ...shown.flatMap(helpOf), '');
  }
  if (mode === 'run') {
    lines.push('SIZE has a unit: 10kB, 512MiB, 1GiB. TIME has a unit: 250ms, 30s, 5min.');
    lines.push('Exit status: the command’s own; 128+n for signal n; 124 a limit ended it; 125 the sandbox failed;');
    lines.push('126 the command cannot be executed; 127 it was not found.');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

function helpOf(option: Option): string[] {
  const indent = option.short === undefined ? '      ' : '  ';
  const left = `${indent}${spelling(option)}${valueSpelling(option)}`;
  const [first = '', ...rest] = wrap(option.help, COLUMN);
  const text = [first, ...rest];
  if (left.length + 2 > COLUMN) return [left, ...text.map((line) => ' '.repeat(COLUMN) + line)];
  return text.map((line, index) => (index === 0 ? left.padEnd(COLUMN) : ' '.repeat(COLUMN)) + line);
}

function wrap(text: string, indent: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1] ?? '';
    if (last === '') lines[lines.length - 1] = word;
    else if (indent + last.length + 1 + word.length > WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
