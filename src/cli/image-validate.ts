// `run-sandbox image validate`: one line on stdout for what is valid, and every issue of what is not on stderr.
import { printable } from '../errors/errors.ts';
import { examineImage } from '../image/examine.ts';
import type { Examined } from '../image/examined.ts';
import { sayUsage } from './failure.ts';
import { type Call, draftOf, orFailure, wantsJson } from './image-call.ts';
import { findingLine, headline } from './image-words.ts';
import { jsonText } from './json-text.ts';
import { say } from './say.ts';
import { writeAll } from './write.ts';

/** Exit status where an operand is not valid, as diff(1) and grep(1) have it for an answer that is no. */
const INVALID = 1;

export async function validateCommand(call: Call): Promise<number> {
  const all = [...call.problems];
  if (call.parsed.operands.length === 0) all.push('image validate needs a file or a directory');
  if (all.length > 0) return sayUsage(all);
  return orFailure(() => validate(call));
}

async function validate(call: Call): Promise<number> {
  const json = wantsJson(call);
  const { limits, keyring } = draftOf(call);
  const reports: object[] = [];
  let valid = true;
  for (const path of call.parsed.operands) {
    const examined = await examineImage(path, { limits, ...(keyring === undefined ? {} : { keyring }) });
    valid &&= examined.issues.length === 0;
    if (json) reports.push(reportOf(examined));
    else sayExamined(examined);
  }
  if (json) writeAll(1, `${jsonText(reports)}\n`);
  return valid ? 0 : INVALID;
}

function sayExamined(examined: Examined): void {
  const { path, issues, notes } = examined;
  for (const note of notes) say(`${printable(path)}: note: ${findingLine(note)}`, 'yellow');
  for (const issue of issues) say(`${printable(path)}: ${findingLine(issue)}`, 'red');
  if (issues.length === 0) writeAll(1, `${printable(path)}: ${headline(examined)}${signedBy(examined)}\n`);
}

function signedBy({ signers = [] }: Examined): string {
  const words = signers.map(({ userId, fingerprint }) => `${userId} (${fingerprint})`);
  return words.length === 0 ? '' : printable(`, signed by ${words.join(' and ')}`);
}

function reportOf({ path, kind, issues, notes, archive, images, manifest, signers }: Examined): object {
  return {
    path,
    kind,
    valid: issues.length === 0,
    imageId: kind === 'aci' ? archive?.imageId : undefined,
    name: manifest?.name,
    archive,
    signers,
    images: images?.map(({ names, digest }) => ({ names, digest })),
    issues,
    notes,
  };
}
