// docs/cli.md, generated from the option table. Pure; a test compares it with the file.
import { groups, type Option, servesMode, spelling, valueSpelling } from './option.ts';
import { options } from './options.ts';
import { examples, exitStatuses, operandRules, statusLines, subcommandsOf, summaries, usages } from './texts.ts';

export function referencePage(): string {
  return [
    '# run-sandbox',
    '<!-- Generated from src/cli/options.ts and src/cli/texts.ts: do not edit. -->',
    ['```', ...usages('run'), '```'].join('\n'),
    summaries.run,
    ...section(
      'Examples',
      ['```', ...examples.map(([command, meaning]) => `${command}   # ${meaning}`), '```'].join('\n'),
    ),
    ...section('The first operand', table(['First operand', 'What it is'], operandRules)),
    ...section(
      'Options',
      'An option that is not marked *repeatable* counts once: saying it again with another value is an error.',
    ),
    ...groups.flatMap(groupSections),
    ...section(
      'Units',
      'A SIZE has a unit: `B`, `kB`, `MB`, `GB`, `TB` count in thousands, `KiB`, `MiB`, `GiB`, `TiB` in 1024s. A TIME has a unit: `ms`, `s`, `min`, `h`.',
    ),
    ...section('Exit status', table(['Status', 'Meaning'], exitStatuses)),
    ...section(
      'For programs',
      [
        '`--status-fd N` writes JSON lines to descriptor N; `--json` alone writes the last of them to stderr. Readers ignore members that they do not know.',
        table(['`event`', 'Meaning'], statusLines),
      ].join('\n\n'),
    ),
    ...section(
      'Other commands',
      subcommandsOf()
        .map(([usage, summary]) => `- \`${usage}\`: ${summary}`)
        .join('\n'),
    ),
  ]
    .join('\n\n')
    .concat('\n');
}

function section(title: string, text: string): string[] {
  return [`## ${title}`, text];
}

function groupSections(group: (typeof groups)[number]): string[] {
  const members = options.filter((option) => option.group === group);
  return [`### ${group}`, members.map(entry).join('\n')];
}

function entry(option: Option): string {
  const facts = [
    ...(option.repeatable ? ['*repeatable*'] : []),
    ...(option.sets === undefined ? [] : [`spec: \`${option.sets}\``]),
    ...(servesMode(option, 'run') ? [] : [`only with ${option.modes?.map((mode) => `\`${mode}\``).join(', ')}`]),
  ];
  const head = `- \`${spelling(option)}${valueSpelling(option)}\`${facts.length === 0 ? '' : ` (${facts.join('; ')})`}`;
  return `${head}: ${sentence(option)}`;
}

/** Help as a sentence, and what the manual adds. */
export function sentence({ help, details }: Option): string {
  return `${help.charAt(0).toUpperCase()}${help.slice(1)}.${details === undefined ? '' : ` ${details}`}`;
}

function table(head: readonly [string, string], rows: readonly (readonly [string, string])[]): string {
  const line = ([left, right]: readonly [string, string]): string => `| ${left} | ${right} |`;
  return [line(head), '| --- | --- |', ...rows.map(line)].join('\n');
}
