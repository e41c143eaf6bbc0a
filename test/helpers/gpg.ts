// Keys and signatures by gpg, in a directory that is thrown away.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export class Gpg {
  readonly #home: string;

  constructor(directory: string) {
    this.#home = join(directory, 'gnupg');
    mkdirSync(this.#home, { mode: 0o700 });
  }

  run(...args: readonly string[]): Buffer {
    const common = ['--batch', '--quiet', '--homedir', this.#home, '--pinentry-mode=loopback', '--passphrase='];
    return execFileSync('gpg', [...common, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  }

  /** Returns its fingerprint. */
  key(user: string, ...options: readonly string[]): string {
    this.run(...options, '--quick-generate-key', user, 'ed25519', 'sign', options.length > 0 ? '2d' : 'never');
    return /^fpr:+([0-9A-F]+):$/m.exec(this.run('--with-colons', '--list-keys', user).toString())?.[1] ?? '';
  }

  revoke(fingerprint: string): void {
    const certificate = join(this.#home, 'openpgp-revocs.d', `${fingerprint}.rev`);
    // gpg writes a colon before it, so that nobody imports it by mistake.
    writeFileSync(certificate, readFileSync(certificate, 'latin1').replace(/^:-----/m, '-----'), 'latin1');
    this.run('--import', certificate);
  }

  /** The agent would outlive the test. */
  end(): void {
    execFileSync('gpgconf', ['--homedir', this.#home, '--kill', 'all'], { stdio: 'ignore' });
  }
}
