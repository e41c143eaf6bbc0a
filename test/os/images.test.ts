import { describeImages } from './images-cases.ts';

describeImages({ isRoot: process.getuid?.() === 0 });
