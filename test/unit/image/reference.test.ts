import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ImageError } from '../../../src/errors/errors.ts';
import { formatReference, type ImageReference, parseImageReference } from '../../../src/image/reference.ts';

const digest = `sha256:${'0a'.repeat(32)}`;
const at = (registry: string, repository: string, tag?: string, by?: string): ImageReference => ({
  kind: 'registry',
  registry,
  repository,
  tag,
  digest: by,
});

function problemOf(text: string): string {
  try {
    parseImageReference(text);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    expect(error.code).toBe('SBX_IMAGE_REFERENCE');
    return error.message;
  }
  throw new Error(`${text} was read`);
}

describe('a reference of an image', () => {
  test.each<[string, ImageReference]>([
    ['debian', at('docker.io', 'library/debian', 'latest')],
    ['debian:12', at('docker.io', 'library/debian', '12')],
    ['app/web', at('docker.io', 'app/web', 'latest')],
    ['docker.io/debian', at('docker.io', 'library/debian', 'latest')],
    ['index.docker.io/app/web:1', at('docker.io', 'app/web', '1')],
    ['docker://ghcr.io/a/b', at('ghcr.io', 'a/b', 'latest')],
    ['localhost/a', at('localhost', 'a', 'latest')],
    ['127.0.0.1:5000/a/b/c:v1.2_x-y', at('127.0.0.1:5000', 'a/b/c', 'v1.2_x-y')],
    ['[::1]:5000/a', at('[::1]:5000', 'a', 'latest')],
    [`example.org/a@${digest}`, at('example.org', 'a', undefined, digest)],
    [`example.org/a:1@${digest}`, at('example.org', 'a', '1', digest)],
    ['example.org/a__b/c--d.e', at('example.org', 'a__b/c--d.e', 'latest')],
    ['./image.aci', { kind: 'path', path: './image.aci' }],
    ['/images/x', { kind: 'path', path: '/images/x' }],
    ['..', { kind: 'path', path: '..' }],
    ['oci:dir', { kind: 'oci', path: 'dir', ref: undefined }],
    ['oci:/a/dir:v1', { kind: 'oci', path: '/a/dir', ref: 'v1' }],
    ['oci-archive:x.tar:v1', { kind: 'oci-archive', path: 'x.tar', ref: 'v1' }],
    [
      'docker-archive:x.tar:example.org:5000/a:1',
      { kind: 'docker-archive', path: 'x.tar', ref: 'example.org:5000/a:1' },
    ],
  ])('%s is read', (text, reference) => expect(parseImageReference(text)).toEqual(reference));

  test.each([
    ['', 'it is empty'],
    ['a\0', 'NUL'],
    ['Debian', 'upper-case letters'],
    ['a//b', 'is no repository'],
    ['a/', 'is no repository'],
    ['-a', 'is no repository'],
    ['a___b', 'is no repository'],
    ['a:', 'is no tag'],
    ['a:-x', 'is no tag'],
    [`a:${'x'.repeat(129)}`, 'is no tag'],
    ['a@sha256:00', '64 hexadecimal digits'],
    ['a@md5:d41d8cd98f00b204e9800998ecf8427e', 'digests of md5 cannot be verified'],
    ['a@', 'is no digest'],
    ['https://example.org/a', "'https://' is no way to name an image"],
    ['oci:', "a path must follow 'oci:'"],
    ['oci:dir:', 'nothing follows the colon'],
    ['image.tar.gz', "for a file write './image.tar.gz'"],
    ['app.aci', "for a file write './app.aci'"],
    ['example.org:0/a', 'is no host'],
    ['example.org:99999/a', 'is no host'],
    ['exa mple.org/a', 'is no host'],
    ['a.-b/x', 'is no host'],
    [`example.org/${'a'.repeat(300)}`, 'at most 255 characters'],
    ['user@example.org/a', 'is no digest'],
    ['example.org/../a', 'is no repository'],
    ['docker://', 'is no repository'],
  ])('%j is refused: %s', (text, part) => {
    expect(problemOf(text)).toContain(part);
  });

  test('is written so that it is read back', () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,6}([._-][a-z0-9]{1,4}){0,2}$/);
    const reference = fc.record({
      registry: fc.constantFrom('docker.io', 'example.org', 'localhost', '127.0.0.1:5000', '[::1]:80'),
      repository: fc.array(word, { minLength: 2, maxLength: 4 }).map((parts) => parts.join('/')),
      tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/), { nil: undefined }),
      digest: fc.option(fc.constant(digest), { nil: undefined }),
    });
    fc.assert(
      fc.property(reference, (parts) => {
        const tag = parts.tag ?? (parts.digest === undefined ? 'latest' : undefined);
        const whole = { kind: 'registry' as const, ...parts, tag };
        expect(parseImageReference(formatReference(whole))).toEqual(whole);
      }),
    );
  });

  test('of any text is read, or refused by one clear error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9:/@.[\]_-]{0,30}$/)), (text) => {
        try {
          parseImageReference(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError);
        }
      }),
    );
  });
});
