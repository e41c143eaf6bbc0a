// Reports and explanations for people. Pure: what is painted, and whether, is the caller's business.

import { byReason } from '../errors/errors.ts';
import { features } from '../features/feature.ts';
import { onlyStandIns, standInsFor } from '../features/stand-ins.ts';
import type { Availability, Explanation, Feature, Finding, HostReport } from '../index.ts';
import type { Style } from './say.ts';

/** A seccomp filter in base64 is tens of thousands of characters; `--json` has all of it. */
const VALUE_CHARACTERS_MAX = 400;

export type Paint = (style: Style, text: string) => string;

/** What every run without options needs. */
const defaultSandbox: readonly Feature[] = [
  'root.host',
  'root.readonly',
  'mount.tmpfs',
  'mount.proc',
  'mount.dev',
  'namespace.pid',
  'namespace.mount',
  'namespace.ipc',
  'namespace.uts',
  'network.none',
  'seccomp.default',
  'capabilities.drop',
  'noNewPrivileges',
  'lifecycle.killTree',
];

export function runsDefaultSandbox({ backends }: HostReport): boolean {
  const native = backends.find(({ backend }) => backend === 'native');
  return (
    native?.usable.available === true && defaultSandbox.every((feature) => native.features[feature]?.available === true)
  );
}

/** Whether it runs a command without namespaces, for callers who can do without. */
function onlyConfines({ usable, features: known }: HostReport['backends'][number]): boolean {
  return usable.available && known['namespace.pid']?.available !== true;
}

/** What is to be had in place of what is missing. */
function instead({ features: known }: HostReport['backends'][number], missing: readonly Feature[]): string {
  const standIns = missing.flatMap((feature) => standInsFor({}).get(feature) ?? []);
  const offered = standIns.filter((standIn) => known[standIn]?.available === true);
  return offered.length === 0 ? '' : `; where these are optional, in their place ${offered.join(', ')}`;
}

/** Features of one kind share a line. */
const featureGroups: readonly (readonly [title: string, member: (feature: Feature) => boolean])[] = [
  ['root and mounts', (feature) => /^(?:root|mount|workspace)/.test(feature)],
  ['namespaces', (feature) => feature.startsWith('namespace.')],
  ['users', (feature) => /^(?:user$|idMappings)/.test(feature)],
  ['network', (feature) => feature.startsWith('network.')],
  ['limits', (feature) => feature.startsWith('limits.')],
  ['privileges', (feature) => /^(?:seccomp|capabilities|noNewPrivileges|landlock|selinux)/.test(feature)],
  ['process', (feature) => /^(?:cwd|env|hostname|umask|terminal|descriptors|architecture)$/.test(feature)],
  ['lifecycle', (feature) => /^(?:lifecycle|usage)/.test(feature)],
];

export function doctorText(report: HostReport, { verbose, paint }: { verbose: boolean; paint: Paint }): string {
  const { kernel, architecture, user, container, backends, findings, facilities } = report;
  const place = container.inside ? `, in a container (${container.kind ?? 'unknown kind'})` : '';
  const lines = [`Linux ${kernel.release} on ${architecture}, uid ${user.uid}${place}`, ''];
  const native = backends.find(({ backend }) => backend === 'native');
  if (native !== undefined) {
    if (!native.usable.available || onlyConfines(native))
      lines.push(`${paint('red', '✗')} backend native: ${reason(native.usable)}`);
    for (const [title, member] of featureGroups) {
      // What stands in for another is missed by nobody who has that.
      const group = features.filter(
        (feature) => member(feature) && native.features[feature] !== undefined && !onlyStandIns.has(feature),
      );
      const missing = group.filter((feature) => native.features[feature]?.available !== true);
      const mark = missing.length === 0 ? paint('green', '✓') : paint('red', '✗');
      const what =
        missing.length === 0 ? `all ${group.length}` : `missing ${missing.join(', ')}${instead(native, missing)}`;
      if (group.length > 0) lines.push(`${mark} ${title.padEnd(16)} ${what}`);
    }
    lines.push('');
  }
  if (verbose) {
    lines.push(
      ...facilities.map(
        ({ ok, facility, detail }) =>
          `${ok ? paint('green', '✓') : paint('red', '✗')} ${facility.padEnd(28)} ${detail}`,
      ),
    );
    if (facilities.length > 0) lines.push('');
  }
  for (const finding of findings) lines.push(...findingLines(finding, paint), '');
  lines.push(
    runsDefaultSandbox(report)
      ? paint('green', 'This host runs the default sandbox.')
      : paint('red', 'This host does not run the default sandbox.'),
    ...(native !== undefined && onlyConfines(native)
      ? [
          'It confines a command without isolating it, where what is missing is optional: run-sandbox --optional all --landlock /usr:rox ... -- COMMAND',
        ]
      : []),
  );
  return `${lines.join('\n')}\n`;
}

const severityStyles = { error: 'red', warning: 'yellow', info: 'blue' } as const;

function findingLines({ severity, id, cause, remedy, features: lost }: Finding, paint: Paint): string[] {
  return [
    `${paint(severityStyles[severity], severity)}: ${cause} [${id}]`,
    ...(lost.length === 0 ? [] : [`  takes away: ${lost.join(', ')}`]),
    ...remedy.split('\n').map((line, index) => `  ${index === 0 ? 'fix: ' : '     '}${line}`),
  ];
}

function reason(availability: Availability): string {
  if (availability.available) return availability.mechanism;
  return availability.remedy === undefined ? availability.because : `${availability.because}; ${availability.remedy}`;
}

/** One column for each backend; below it the reasons. */
export function backendsText({ backends }: HostReport, paint: Paint): string {
  const wide = Math.max(...features.map((feature) => feature.length)) + 2;
  const lines = [''.padEnd(wide) + backends.map(({ backend }) => `${backend}  `).join('')];
  for (const feature of features) {
    const cells = backends.map((backend) => {
      const width = backend.backend.length + 2;
      const availability = backend.features[feature];
      if (availability === undefined) return '-'.padEnd(width);
      return availability.available ? paint('green', 'yes'.padEnd(width)) : paint('red', 'no'.padEnd(width));
    });
    lines.push((feature.padEnd(wide) + cells.join('')).trimEnd());
  }
  lines.push('', 'yes: works here; no: known to the backend, but not to be had here; -: not known to the backend');
  for (const { backend, usable, features: known } of backends) {
    const reasons = new Map<string, Feature[]>();
    for (const feature of features) {
      const availability = known[feature];
      if (availability === undefined || availability.available) continue;
      const because = reason(availability);
      // What it lacks because it cannot run at all need not be said one by one.
      if (!usable.available && because === reason(usable)) continue;
      reasons.set(because, [...(reasons.get(because) ?? []), feature]);
    }
    if (!usable.available) lines.push(`${backend}: cannot run here: ${reason(usable)}`);
    for (const [because, lost] of reasons) lines.push(`${backend}: no ${lost.join(', ')}: ${because}`);
  }
  return `${lines.join('\n')}\n`;
}

export function explanationText(
  { backend, sentences, plan, enforcement }: Explanation,
  command: readonly string[],
): string {
  const lines = [`backend ${backend}${command.length === 0 ? '' : `: ${shellLine(command)}`}`, ''];
  lines.push(...sentences.map((sentence) => `- ${sentence}`), '');
  lines.push('enforced by:', ...enforcement.applied.map(({ feature, mechanism }) => `  ${feature}: ${mechanism}`));
  if (enforcement.skipped.length > 0) {
    const groups = byReason(enforcement.skipped);
    lines.push('', 'skipped:', ...groups.map(({ names, because }) => `  ${names.join(', ')}: ${because}`));
  }
  const steps = stepsOf(plan.detail);
  if (steps.length > 0)
    lines.push('', 'steps:', ...steps.map((step, index) => `  ${String(index + 1).padStart(3)} ${stepLine(step)}`));
  if (plan.notes.length > 0) lines.push('', 'notes:', ...plan.notes.map((note) => `  ${note}`));
  return `${lines.join('\n')}\n`;
}

/** The plan of a backend is its own; one that has steps can be listed. */
function stepsOf(detail: unknown): readonly Record<string, unknown>[] {
  const steps = (detail as { steps?: unknown } | null | undefined)?.steps;
  return Array.isArray(steps) ? (steps as Record<string, unknown>[]) : [];
}

function stepLine({ step, ...fields }: Record<string, unknown>): string {
  const words = Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0))
    .map(([name, value]) => `${name}=${plainValue(value)}`);
  return [String(step), ...words].join(' ');
}

function plainValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length <= VALUE_CHARACTERS_MAX
    ? text
    : `${text.slice(0, VALUE_CHARACTERS_MAX)}... (${text.length} characters)`;
}

export function explanationJson(explanation: Explanation, command: readonly string[]): string {
  return `${JSON.stringify({ command, ...explanation }, undefined, 2)}\n`;
}

/** A line that a shell reads back as the same words. */
export function shellLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}
