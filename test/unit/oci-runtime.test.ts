// Which OCI runtime is used, and what is said where it cannot be.
import { expect, test } from 'vitest';
import { loadOci } from '../../src/backends/oci/index.ts';
import { BackendError } from '../../src/errors/errors.ts';

async function refusalOf(named: string): Promise<BackendError> {
  const backend = await loadOci(named);
  const { usable } = await backend.probe();
  expect(usable.available).toBe(false);
  try {
    backend.plan(undefined as never, new Set(), undefined as never);
  } catch (error) {
    if (error instanceof BackendError) return error;
    throw error;
  }
  throw new Error('a plan without a runtime');
}

test('a name that no runtime has is an error that says which there are', async () => {
  expect((await refusalOf('rnuc')).message).toBe(
    "SANDBOXLIB_OCI_RUNTIME names no OCI runtime: 'rnuc'; did you mean 'runc'?",
  );
  expect((await refusalOf('/usr/bin/docker')).message).toContain('known are crun, runc, runsc, kata-runtime');
});

test('a runtime that is not installed is an error too, and no other is taken instead', async () => {
  const { message } = await refusalOf('kata-runtime');
  expect(message).toContain('there is no kata-runtime on PATH, and SANDBOXLIB_OCI_RUNTIME names it');
  expect(message).toContain('install kata-runtime, or unset SANDBOXLIB_OCI_RUNTIME');
});
