// What the commands are, in words: for help, docs/cli.md and the manual page.
import { type Mode, subcommands } from './option.ts';

export const summaries: Readonly<Record<Mode, string>> = {
  run:
    'Runs one command in a sandbox made for it and gone afterwards: no network, its own processes, a clean environment, a private /tmp and $HOME, ' +
    'and of this host only the system directories, read-only. Options end at the first operand, so those of the command are its own.',
  explain:
    'Says what a run would do, without running anything: the backend, the promises, each step. Takes the options of a run.',
  compile:
    'Writes a program that does what a run would do, without Node: ./FILE ARG... appends its words to COMMAND; where no COMMAND was given they are the command. For shell loops, make SHELL=, hooks and cron. ' +
    'Paths are those of now; variables that are passed on are taken from the environment of each call. It runs as the same user, on the same series of Linux, and refuses to elsewhere. Backend native alone.',
  pod:
    'Runs the apps of a pod manifest of App Container together: each with a root, a user and bounds of its own, in one pid, network, ipc and uts namespace. Their images are found by image ID among IMAGE... and in the store. ' +
    'It ends when all apps have ended, or by a signal, and exits with the status of the first one, in the order of the manifest, that is not 0. Backend native alone.',
  changes:
    'Lists captured changes (--changes keep), shows what changed, shows the differences as git does, writes them to stdout as an archive, pushes those of an image to a registry as the layer above it, applies them to the directories that were shown, or throws them away. ' +
    'Nothing is applied where a directory has changed since the run began. What is pushed needs the image where it came from.',
  doctor:
    'Tries what this host offers, and says what is missing, why, and how to get it. Exit status 0 when the native backend can run the default sandbox, else 1.',
  backends: 'Prints which backend offers which feature on this host.',
  image:
    'Works on images. build: makes an App Container image of a directory, which becomes its rootfs, and an image manifest; the same content gives the same image ID, which it prints. ' +
    'Files changed later than SOURCE_DATE_EPOCH, where that is set, are given that time. Extended attributes and sockets are left out. unpack: writes an archive (tar, also compressed by gzip, bzip2, xz or zstd), or several as the layers of one tree, into a directory that is absent or empty; ' +
    'as an ordinary user with the owners that /etc/subuid and /etc/subgid allow. Where it fails nothing is left. ' +
    'inspect: says what one is and has, without a look at what is in its layers; with --json its documents. validate: reads images of any kind to their end without unpacking them, and says what each is, or everything that is wrong with it; exit status 0 when all are valid, else 1. ' +
    'pull: brings images into the store, from a registry or a file. ls: lists what is there. rm: forgets images, and removes the layers that no other needs. gc: removes layers that nothing names, and what killed processes left.',
  completion: 'Prints a completion script. For bash: source <(run-sandbox completion bash)',
  help: 'Prints help on a command.',
};

export function usages(mode: Mode): readonly string[] {
  switch (mode) {
    case 'run':
      return [
        'run-sandbox [options] [--] COMMAND [ARG...]',
        'run-sandbox [options] DIRECTORY [COMMAND [ARG...]]',
        'run-sandbox [options] IMAGE [ARG...]',
        'run-sandbox explain | compile | pod | changes | doctor | backends | image | completion | help',
      ];
    case 'explain':
      return ['run-sandbox explain [options] [--] [COMMAND [ARG...]]'];
    case 'compile':
      return ['run-sandbox compile [options] -o FILE [--] [COMMAND [ARG...]]'];
    case 'pod':
      return ['run-sandbox pod [options] FILE [IMAGE...]'];
    case 'changes':
      return [
        'run-sandbox changes [options] [show ID | diff ID | apply ID | discard ID...]',
        'run-sandbox changes [options] export ID [tar|oci-layer]',
        'run-sandbox changes [options] push ID [REGISTRY/]NAME[:TAG]',
      ];
    case 'doctor':
    case 'backends':
      return [`run-sandbox ${mode} [options]`];
    case 'image':
      return [
        'run-sandbox image build [options] DIRECTORY MANIFEST -o FILE.aci',
        'run-sandbox image inspect [options] FILE|DIRECTORY',
        'run-sandbox image validate [options] FILE|DIRECTORY...',
        'run-sandbox image unpack [options] ARCHIVE [ARCHIVE...] DIRECTORY',
        'run-sandbox image pull [options] REFERENCE...',
        'run-sandbox image ls | gc [options]',
        'run-sandbox image rm [options] REFERENCE|ID...',
      ];
    case 'completion':
      return ['run-sandbox completion bash'];
    case 'help':
      return ['run-sandbox help [COMMAND]'];
  }
}

/** What the first operand may be. */
export const operandRules: readonly (readonly [what: string, meaning: string])[] = [
  [
    'a word of ours as the very first argument',
    'that command of run-sandbox; `run-sandbox -- doctor` runs a program called doctor',
  ],
  [
    'a path with a slash that is a directory',
    'the root, as with --root; what follows is the command, /bin/sh when nothing does',
  ],
  [
    'an image file (.aci, .oci, .tar, also compressed, .sqfs), oci:DIR, bundle:DIR, docker://NAME',
    'the image that is run; what follows are arguments of its entry point',
  ],
  ['anything else, and everything after `--`', 'the command'],
];

export const exitStatuses: readonly (readonly [status: string, meaning: string])[] = [
  ['0-255', 'that of the command'],
  ['128+n', 'signal n ended the command, or was sent to run-sandbox and ended the sandbox'],
  ['124', 'a limit ended it; stderr, --json and --status-fd say which'],
  ['125', 'wrong use, or the sandbox failed; the command did not run'],
  ['126', 'the command cannot be executed'],
  ['127', 'the command, or its interpreter, was not found'],
];

export const statusLines: readonly (readonly [event: string, meaning: string])[] = [
  ['planned', 'the backend was chosen: `backend`'],
  ['started', 'the command runs: `pid` of the launcher on this host'],
  [
    'result',
    'the end: `outcome`, `exitCode`, `signal`, `exitStatus`, `usage`, `enforcement`, and `changes` where some were captured: their `id`, `directory` and number',
  ],
  ['error', 'the sandbox failed, or wrong use: `code`, `message`, `exitStatus`, and what belongs to that code'],
];

export const examples: readonly (readonly [command: string, meaning: string])[] = [
  ['run-sandbox uname -a', 'a program of this host, with nothing in its reach'],
  ['run-sandbox -w -- npm test', 'work in the current directory'],
  [
    'run-sandbox -w=:ro --wall 30s --output 1MB ./judge.sh',
    'look, but change nothing; half a minute, a megabyte of output',
  ],
  ['run-sandbox -w=:overlay --changes keep -- npm test', 'let it change what it likes, and look at that afterwards'],
  ['run-sandbox -t ./rootfs', 'a shell in a directory tree'],
  ['run-sandbox --bind "$HOME/.gitconfig" --network host -w git fetch', 'one more file, and the network'],
];

/** The commands beside a run, with what they are. */
export function subcommandsOf(): readonly (readonly [usage: string, summary: string])[] {
  return subcommands.map((name) => [usages(name).join(' or '), summaries[name]] as const);
}
