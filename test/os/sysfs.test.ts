// As root, where the tests run as root.
import { sysfsCases } from './sysfs-cases.ts';

sysfsCases();
