// `run-sandbox doctor` and `run-sandbox backends`: what this host offers.
import { type HostReport, probe } from '../index.ts';
import { exitStatusOfError } from './exit.ts';
import { sayError, sayUsage } from './failure.ts';
import { newDraft } from './option.ts';
import type { Parsed } from './parse.ts';
import { backendsText, doctorText, runsDefaultSandbox } from './render.ts';
import { paint, type Style } from './say.ts';
import { writeAll } from './write.ts';

export async function doctorCommand(parsed: Parsed): Promise<number> {
  const { json, verbose } = parsed.draft.settings;
  return withReport('doctor', parsed, (report) => {
    writeAll(1, json ? toJson(report) : doctorText(report, { verbose, paint: painter }));
    return runsDefaultSandbox(report) ? 0 : 1;
  });
}

export async function backendsCommand(parsed: Parsed): Promise<number> {
  return withReport('backends', parsed, (report) => {
    writeAll(1, parsed.draft.settings.json ? toJson(report.backends) : backendsText(report, painter));
    return 0;
  });
}

async function withReport(
  word: string,
  { operands, problems }: Parsed,
  print: (report: HostReport) => number,
): Promise<number> {
  const all = [...problems];
  if (operands.length > 0)
    all.push(
      `${word} takes no operand, but got ${operands.join(' ')}; to run a program of that name: run-sandbox -- ${word}`,
    );
  if (all.length > 0) return sayUsage(all);
  try {
    return print(await probe());
  } catch (error) {
    sayError(error, newDraft());
    return exitStatusOfError(error);
  }
}

function painter(style: Style, text: string): string {
  return paint(1, style, text);
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
