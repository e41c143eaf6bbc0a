// As whoever runs the tests: root, where that can be.
import { describeBackend } from './describe-backend.ts';

describeBackend('podman');
