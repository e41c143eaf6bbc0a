// Issues are gathered, never thrown one by one: a person wants to mend all of them at once.
import type { SpecIssue } from '../errors/errors.ts';

/** Adds an issue at `path` of the spec. */
export type Reporter = (path: SpecIssue['path'], message: string) => void;
