// `run-sandbox completion bash`: a script from the option table.
import { sayUsage } from './failure.ts';
import { servesMode, subcommands } from './option.ts';
import { options } from './options.ts';
import type { Parsed } from './parse.ts';
import { writeAll } from './write.ts';

export function completionCommand({ operands, problems }: Parsed): number {
  const all = [...problems];
  if (operands.length !== 1) all.push('completion takes the name of one shell: bash');
  else if (operands[0] !== 'bash') all.push(`there is no completion for '${operands[0]}', only for bash`);
  if (all.length > 0) return sayUsage(all);
  writeAll(1, bashCompletion());
  return 0;
}

/** Pure. After the first operand the words are those of another command, which bash-completion knows better. */
export function bashCompletion(): string {
  const run = options.filter((option) => servesMode(option, 'run'));
  const withValue = run.filter((option) => option.value !== undefined && option.valueOptional !== true);
  const names = run.flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]);
  const cases = run.flatMap((option) => {
    const { name, completes } = option;
    if (option.value === undefined || completes === undefined) return [];
    return [`    --${name}) ${reply(completes)} ;;`];
  });
  return `# bash completion for run-sandbox: source <(run-sandbox completion bash)
_run_sandbox_value() {
  local cur=$2
  case $1 in
${cases.join('\n')}
    *) COMPREPLY=() ;;
  esac
}

_run_sandbox() {
  local cur prev words cword
  # Without COMP_WORDBREAKS, --option=value stays one word.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n =: cur prev words cword
  else
    cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} words=("\${COMP_WORDS[@]}") cword=$COMP_CWORD
  fi
  local i=1
  while ((i < cword)); do
    case \${words[i]} in
      --) ((i++)); break ;;
      ${withValue.map(({ name }) => `--${name}`).join('|')}) ((i += 2)) ;;
      -?*) ((i++)) ;;
      *) break ;;
    esac
  done
  if ((i < cword)); then
    if declare -F _command_offset >/dev/null; then _command_offset "$i"; else COMPREPLY=($(compgen -f -- "$cur")); fi
    return
  fi
  if ((i > cword)); then _run_sandbox_value "$prev" "$cur"; return; fi
  case $cur in
    --*=*)
      _run_sandbox_value "\${cur%%=*}" "\${cur#*=}"
      declare -F __ltrimcolons >/dev/null || COMPREPLY=("\${COMPREPLY[@]/#/\${cur%%=*}=}") ;;
    -*) COMPREPLY=($(compgen -W "${names.join(' ')}" -- "$cur")) ;;
    *)
      COMPREPLY=($(compgen -c -d -- "$cur"))
      ((cword == 1)) && COMPREPLY+=($(compgen -W "${subcommands.join(' ')}" -- "$cur")) ;;
  esac
}

complete -F _run_sandbox run-sandbox
`;
}

function reply(completes: 'directory' | 'file' | readonly string[]): string {
  if (completes === 'directory') return 'COMPREPLY=($(compgen -d -- "$cur"))';
  if (completes === 'file') return 'COMPREPLY=($(compgen -f -- "$cur"))';
  return `COMPREPLY=($(compgen -W "${completes.join(' ')}" -- "$cur"))`;
}
