// The same as oci.test.ts with the other runtime: that one takes the first that works.
import { RUNTIME_VARIABLE } from '../../src/backends/oci/index.ts';
import { describeBackend } from './describe-backend.ts';

process.env[RUNTIME_VARIABLE] = 'runc';
describeBackend('oci');
