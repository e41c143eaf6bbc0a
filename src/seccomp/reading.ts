// What reading a profile takes: JSON from anywhere, every issue with its path.
export type Path = readonly (string | number)[];
export type Report = (path: Path, message: string) => void;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function refuseUnknownKeys(
  value: Record<string, unknown>,
  known: readonly string[],
  path: Path,
  report: Report,
): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    if (key === 'listenerPath' || key === 'listenerMetadata') {
      report([...path, key], 'user notification is not supported; remove it and every SCMP_ACT_NOTIFY');
    } else {
      report([...path, key], `unknown key; known are ${known.join(', ')}`);
    }
  }
}

export function show(value: unknown): string {
  return typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value));
}
