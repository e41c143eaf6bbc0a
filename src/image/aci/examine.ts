// An App Container archive, read to its end without unpacking it: its entries, its manifest and its ID.
import { shown } from '../archive/bytes.ts';
import type { ArchiveLimits } from '../archive/limits.ts';
import { openArchive } from '../archive/open.ts';
import type { TarEntry } from '../archive/tar.ts';
import { readArchiveFile } from '../archive-file.ts';
import { contiguous, wholeContent } from '../contiguous.ts';
import type { Examined, Findings } from '../examined.ts';
import { DOCUMENT_BYTES_MAX, parseJson } from '../json.ts';
import { TreeCheck } from '../tree-check.ts';
import { AciArchiveRules, entryTypes } from './archive.ts';
import { parseAciManifest } from './manifest.ts';

type ExaminedAci = Pick<Examined, 'archive' | 'entries' | 'manifest' | 'documents'>;

/** @throws {ImageError} where the archive cannot be read to its end: what comes after that is not known. */
export async function examineAci(path: string, limits: ArchiveLimits, findings: Findings): Promise<ExaminedAci> {
  const opened = await openArchive(readArchiveFile(path), path, limits);
  const rules = new AciArchiveRules();
  const tree = new TreeCheck();
  let document: Uint8Array | undefined;
  let entries = 0;
  for await (const entry of opened.entries) {
    entries += 1;
    const place = rules.entry({ path: entry.name, type: entryTypes[entry.kind] });
    if (place === 'manifest') document ??= await documentOf(entry, findings);
    if (place === 'rootfs') checkRootfs(entry, tree, findings);
  }
  findings.attempt('archive', () => void rules.finish());
  const documents: Record<string, unknown> = {};
  const manifest = findings.attempt('manifest', () => {
    if (document === undefined) return undefined;
    documents['manifest'] = parseJson(document, 'the image manifest');
    return parseAciManifest(document);
  });
  return { archive: opened.facts(), entries, documents, ...(manifest === undefined ? {} : { manifest }) };
}

async function documentOf(entry: TarEntry, findings: Findings): Promise<Uint8Array | undefined> {
  const document = await wholeContent({ size: entry.size, content: contiguous(entry) }, DOCUMENT_BYTES_MAX);
  if (document === undefined)
    findings.issue('manifest', `it has ${entry.size} bytes, more than the ${DOCUMENT_BYTES_MAX} that are read`);
  return document;
}

function checkRootfs(entry: TarEntry, tree: TreeCheck, findings: Findings): void {
  // Else an image would have its own manifest, or a name of nothing, among its files.
  const leavesRootfs = entry.kind === 'link' && !entry.target.startsWith('rootfs/');
  const problem = tree.entry(entry);
  if (leavesRootfs)
    findings.issue('archive', `'${shown(entry.name)}' is a hard link to '${shown(entry.target)}', out of the rootfs`);
  else if (problem !== undefined) findings.issue('archive', problem);
}
