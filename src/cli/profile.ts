// A spec in a file. Only this brings in the schema library.
import { formatPath, SpecError } from '../errors/errors.ts';
import { validateSpec } from '../spec/schema.ts';
import type { SandboxSpec } from '../spec/types.ts';
import { attempt, readJsonFile } from './values.ts';

/** Every problem is added to `problems`, with the file's name. */
export function loadProfile(file: string, problems: string[]): SandboxSpec | undefined {
  let value: object = {};
  const problem = attempt(
    () => readJsonFile(file),
    (read) => {
      value = read;
    },
  );
  if (problem !== undefined) {
    problems.push(`--profile: ${problem}`);
    return undefined;
  }
  try {
    // Editors find the schema by this key.
    const { $schema: _schema, ...spec } = value as { $schema?: unknown };
    return validateSpec(spec);
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    problems.push(...error.issues.map((issue) => `--profile ${file}: ${formatPath(issue.path)}: ${issue.message}`));
    return undefined;
  }
}
