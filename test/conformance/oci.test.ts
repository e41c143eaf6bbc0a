// By crun, which is taken first where both work; oci-runc.test.ts is the same by the other.
import { RUNTIME_VARIABLE } from '../../src/backends/oci/index.ts';
import { describeBackend } from './describe-backend.ts';

process.env[RUNTIME_VARIABLE] = 'crun';
describeBackend('oci');
