// Decides which part of the command line is meant, and loads only that: starting must stay close to Node's own start.
import { type Subcommand, subcommands } from './option.ts';
import { type Parsed, parse } from './parse.ts';

export async function dispatch(args: readonly string[]): Promise<number> {
  // A word of ours counts only as the very first argument: anywhere else, and after --, it is a program.
  const [first = '', ...rest] = args;
  const word = subcommands.find((name) => name === first);
  const parsed = parse(word === undefined ? args : rest, word ?? 'run');
  const { help, version } = parsed.draft.settings;
  if (help) return (await import('./help.ts')).printHelp(word ?? 'run');
  if (version) return (await import('./version.ts')).printVersion();
  return word === undefined ? (await import('./run.ts')).runCommand(parsed) : subcommand(word, parsed);
}

async function subcommand(word: Subcommand, parsed: Parsed): Promise<number> {
  switch (word) {
    case 'explain':
      return (await import('./explain.ts')).explainCommand(parsed);
    case 'compile':
      return (await import('./compile.ts')).compileCommand(parsed);
    case 'pod':
      return (await import('./pod.ts')).podCommand(parsed);
    case 'changes':
      return (await import('./changes.ts')).changesCommand(parsed);
    case 'doctor':
      return (await import('./doctor.ts')).doctorCommand(parsed);
    case 'backends':
      return (await import('./doctor.ts')).backendsCommand(parsed);
    case 'image':
      return (await import('./image.ts')).imageCommand(parsed);
    case 'completion':
      return (await import('./completion.ts')).completionCommand(parsed);
    case 'help':
      return (await import('./help.ts')).helpCommand(parsed);
  }
}
