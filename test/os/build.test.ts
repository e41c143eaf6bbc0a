import { requires } from '../helpers/requires.ts';
import { describeBuilding } from './build-cases.ts';

requires('linux', 'root', 'userns');
describeBuilding({ isRoot: true });
