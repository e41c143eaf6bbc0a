// As root, where the tests run as root.
import { handlerCases } from './image-handlers-cases.ts';

handlerCases();
