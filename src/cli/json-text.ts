// JSON for people and programs alike: what somebody else wrote into it moves no cursor and turns no line around.

export function jsonText(value: unknown): string {
  // Integers beyond 2^53, such as an argument of a filter, are kept digit by digit, as a string.
  const text = JSON.stringify(
    value,
    (_, member: unknown) =>
      typeof member === 'bigint' ? String(member) : member instanceof Map ? [...member] : member,
    2,
  );
  // JSON has the escapes of ASCII already; the line feeds are those between its lines.
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) =>
    character === '\n' ? character : [...unitsOf(character)].map((unit) => `\\u${unit}`).join(''),
  );
}

function* unitsOf(character: string): Generator<string> {
  for (let at = 0; at < character.length; at += 1) yield character.charCodeAt(at).toString(16).padStart(4, '0');
}
