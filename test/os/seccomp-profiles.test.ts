// As whoever runs the tests.
import { profileCases } from './seccomp-profile-cases.ts';

profileCases();
