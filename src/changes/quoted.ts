// Names for people, and for git.

/** git's way with names that would break a line, or do something to a terminal: C-style, in octal (core.quotePath). */
export function quoted(raw: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  if (!/[\x00-\x1f\x7f-\xff"\\]/.test(raw)) return raw;
  const escapes: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '"': '\\"', '\\': '\\\\' };
  const characters = [...raw].map((character) => {
    const code = character.charCodeAt(0);
    const plain = code >= 0x20 && code < 0x7f;
    return escapes[character] ?? (plain ? character : `\\${code.toString(8).padStart(3, '0')}`);
  });
  return `"${characters.join('')}"`;
}
