import { compileAttacks } from './compile-attacks.ts';

compileAttacks();
