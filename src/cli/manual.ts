// docs/run-sandbox.1 in the macros of man(7), generated from the option table. Pure; a test compares it with the file.
import { groups, type Option, spelling, valueSpelling } from './option.ts';
import { options } from './options.ts';
import { sentence } from './reference.ts';
import { examples, exitStatuses, operandRules, statusLines, subcommandsOf, summaries, usages } from './texts.ts';

export function manualPage(): string {
  return [
    '.\\" Generated from src/cli/options.ts and src/cli/texts.ts: do not edit.',
    '.TH RUN\\-SANDBOX 1 "" sandboxlib "User Commands"',
    '.SH NAME',
    'run\\-sandbox \\- run a command in a sandbox made for it',
    '.SH SYNOPSIS',
    ...usages('run')
      .flatMap((usage) => [text(usage), '.br'])
      .slice(0, -1),
    '.SH DESCRIPTION',
    text(summaries.run),
    '.SS The first operand',
    ...operandRules.flatMap(item),
    '.SH OPTIONS',
    'An option that is not said to be repeatable counts once: saying it again with another value is an error.',
    ...groups.flatMap((group) => [
      `.SS ${group}`,
      ...options.filter((option) => option.group === group).flatMap(entry),
    ]),
    '.SH COMMANDS',
    ...subcommandsOf().flatMap(item),
    '.SH EXIT STATUS',
    ...exitStatuses.flatMap(item),
    '.SH STATUS LINES',
    'With \\-\\-status\\-fd, one JSON object in each line. Readers ignore members that they do not know.',
    ...statusLines.flatMap(item),
    '.SH ENVIRONMENT',
    ...item(['SANDBOXLIB_BACKEND', 'the backend, where --backend names none']),
    ...item(['SANDBOXLIB_LAUNCHER', 'path of the launcher to use instead of the one in the package']),
    ...item(['NO_COLOR', 'no colour, also on a terminal']),
    '.SH EXAMPLES',
    ...examples.flatMap(item),
    '',
  ].join('\n');
}

function item([head, body]: readonly [string, string]): string[] {
  return ['.TP', `.B ${text(head)}`, text(body)];
}

function entry(option: Option): string[] {
  const repeatable = option.repeatable ? ' Repeatable.' : '';
  return ['.TP', `.B ${text(spelling(option) + valueSpelling(option))}`, text(`${sentence(option)}${repeatable}`)];
}

/** Characters that roff would read as its own, and code marks of Markdown. */
function text(words: string): string {
  const escaped = words
    .replaceAll('`', '')
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('’', "'")
    .replaceAll('"', '\\(dq');
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
