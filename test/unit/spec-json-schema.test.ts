import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { capabilityNames } from '../../src/spec/capabilities.ts';
import { generateJsonSchema } from '../../src/spec/json-schema.ts';
import { readDocSentences } from '../helpers/doc-sentences.ts';

const sentences = readDocSentences(new URL('../../src/spec/types.ts', import.meta.url));
const file = new URL('../../schema/sandbox-spec.schema.json', import.meta.url);
const text = `${JSON.stringify(generateJsonSchema(sentences), undefined, 2)}\n`;
if (process.env['UPDATE_SCHEMA'] === '1') writeFileSync(file, text);

type Definition = {
  readonly properties: Readonly<Record<string, { readonly description?: string }>>;
  readonly additionalProperties?: unknown;
};
const schema = JSON.parse(text) as { readonly $defs: Readonly<Record<string, Definition>> };
const definitions = Object.entries(schema.$defs);

test('the committed schema is current; UPDATE_SCHEMA=1 writes it', () => {
  expect(readFileSync(file, 'utf8')).toBe(text);
});

describe('it agrees with types.ts', () => {
  test.each(definitions.filter(([name]) => name !== 'OciSeccomp'))(
    '%s has the members of the interface, and no others',
    (name, definition) => {
      const members = Object.keys(sentences[name] ?? {}).filter((member) => member !== '');
      expect(Object.keys(definition.properties).filter((key) => key !== '$schema')).toEqual(members);
      expect(definition.additionalProperties).toBe(false);
    },
  );

  test('every option of a spec has a description', () => {
    const silent = Object.entries(schema.$defs['SandboxSpec']?.properties ?? {}).filter(
      ([name, property]) => name !== '$schema' && (property.description ?? '') === '',
    );
    expect(silent.map(([name]) => name)).toEqual([]);
  });

  test('every capability is a capability', () => {
    expect(capabilityNames).toHaveLength(41);
    expect(text).toContain('CAP_CHECKPOINT_RESTORE');
  });
});

describe('a second validator', () => {
  const validate = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true }).compile(schema);
  const directory = new URL('../fixtures/good/', import.meta.url);

  test.each(readdirSync(directory))('accepts the good spec %s', (name) => {
    validate(JSON.parse(readFileSync(new URL(name, directory), 'utf8')));
    expect(validate.errors).toBeNull();
  });

  test.each([
    [{ readonyl: true }],
    [{ root: 'rootfs' }],
    [{ mounts: [{ type: 'bind', source: 'a', destination: 'relative' }] }],
    [{ limits: { memoryBytes: '512' } }],
    [{ limits: { wallMs: '5m' } }],
    [{ capabilities: ['CHOWN'] }],
    [{ umask: 512 }],
    [{ user: { uid: -1, gid: 0 } }],
    [{ env: { 'A=B': 'x' } }],
    [{ hostname: '' }],
  ])('refuses %j', (spec) => {
    expect(validate(spec)).toBe(false);
  });
});
