// What stands after the options: a root and a command, or only a command.
import { statSync } from 'node:fs';
import type { Draft } from './option.ts';
import type { Parsed } from './parse.ts';
import { namesImage, readRoot } from './values.ts';

/**
 * The command; a root that the first operand names goes into the draft.
 *
 * A directory counts as a root only when it is written with a slash: a directory called `test` must not take the place of test(1).
 */
export function commandOf({ draft, operands, ended }: Pick<Parsed, 'draft' | 'operands' | 'ended'>): readonly string[] {
  const [first, ...rest] = operands;
  if (first === undefined || ended || hasRoot(draft) || !namesRoot(first)) return operands;
  Object.assign(draft.root, readRoot(first));
  const command = rest[0] === '--' ? rest.slice(1) : rest;
  // As chroot(8) does. What an image runs by default is its own business.
  return command.length === 0 && draft.root.image === undefined ? ['/bin/sh'] : command;
}

function hasRoot(draft: Draft): boolean {
  return draft.root.path !== undefined || draft.root.image !== undefined || draft.root.host === true;
}

function namesRoot(operand: string): boolean {
  if (namesImage(operand)) return true;
  return operand.includes('/') && statSync(operand, { throwIfNoEntry: false })?.isDirectory() === true;
}
