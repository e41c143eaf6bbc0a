// As root, where the tests run as root.
import { podCases } from './pods-cases.ts';

podCases();
