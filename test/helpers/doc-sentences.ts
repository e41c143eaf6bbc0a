// The first sentence of each doc comment of the interfaces of a TypeScript file.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** By interface and member; the interface itself is the member `''`. Members without a comment have the empty sentence. */
export function readDocSentences(url: URL): Record<string, Record<string, string>> {
  const path = fileURLToPath(url);
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  const sentences: Record<string, Record<string, string>> = {};
  for (const statement of source.statements) {
    if (!ts.isInterfaceDeclaration(statement)) continue;
    const members: Record<string, string> = {};
    const own = firstSentence(statement);
    if (own !== '') members[''] = own;
    for (const member of statement.members) {
      if (ts.isPropertySignature(member) && ts.isIdentifier(member.name))
        members[member.name.text] = firstSentence(member);
    }
    sentences[statement.name.text] = members;
  }
  return sentences;
}

function firstSentence(node: ts.Node): string {
  const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  const text = (ts.getTextOfJSDocComment(comments.at(-1)?.comment) ?? '').replaceAll(/\s+/g, ' ');
  const fallback = comments.at(-1)?.tags?.find((tag) => tag.tagName.text === 'defaultValue');
  if (text === '' && fallback !== undefined) return `By default ${ts.getTextOfJSDocComment(fallback.comment)}.`;
  // A full stop before a capital: not the one of `e.g. x` or of `file.ts`.
  return /^.*?[.](?= [A-Z`']|$)/.exec(text)?.[0] ?? text;
}
