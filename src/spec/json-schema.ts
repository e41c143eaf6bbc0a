// The published JSON Schema, generated: from the validator's schema for the shape, from the doc comments of types.ts for the words.
// Not part of index.ts: a test writes and compares `schema/sandbox-spec.schema.json`.
import * as z from 'zod';
import { annotations, sandboxSpec } from './schema.ts';

/** Of each interface: a sentence about itself under `''`, and about each member under its name. */
export type Sentences = Readonly<Record<string, Readonly<Record<string, string>>>>;

type Json = Record<string, unknown>;

export function generateJsonSchema(sentences: Sentences): Json {
  const generated = z.toJSONSchema(sandboxSpec, { metadata: annotations, target: 'draft-2020-12', io: 'input' });
  const { $schema, $ref, $defs } = generated;
  const definitions = Object.entries($defs as Record<string, Json>).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    $schema,
    title: 'SandboxSpec',
    $ref,
    $defs: Object.fromEntries(definitions.map(([name, definition]) => [name, describe(definition, sentences[name])])),
  };
}

function describe(definition: Json, sentences: Readonly<Record<string, string>> = {}): Json {
  const properties = definition['properties'] as Readonly<Record<string, Json>> | undefined;
  if (properties === undefined) return definition;
  const described = Object.entries(properties).map(([name, property]) => [
    name,
    withDescription(property, sentences[name]),
  ]);
  return { ...withDescription(definition, sentences['']), properties: Object.fromEntries(described) };
}

function withDescription(schema: Json, description: string | undefined): Json {
  return description === undefined || description === '' ? schema : { description, ...schema };
}
