// `annals completion bash|zsh|fish`: prints a script by which a shell completes commands, their
// verbs and their options. All are taken from the texts of `annals help`, so that none is missing.

import { parse, UsageError } from "./arguments/options.ts";
import type { CommandHelp } from "./help-lines.ts";
import { commandHelp, connectionHelp, isLocal } from "./help.ts";
import { forms } from "./output/form.ts";
import { print, type Terminal } from "./output/terminal.ts";
import { configHelp } from "./server/config-text.ts";

interface Completed {
  readonly name: string;
  readonly summary: string;
  /** Words that come behind the name: `create`, `list`; for `help`, the commands. */
  readonly verbs: readonly string[];
  /** With their dashes. */
  readonly flags: readonly string[];
}

const shells: Readonly<Record<string, (commands: readonly Completed[]) => string>> = {
  bash,
  zsh,
  fish,
};

/** Prints the script for a shell. */
export async function completion(args: readonly string[], terminal: Terminal): Promise<number> {
  const { positionals } = parse(args, {}, { min: 1, max: 1 });
  const [shell = ""] = positionals;
  const script = Object.hasOwn(shells, shell) ? shells[shell] : undefined;
  if (script === undefined) {
    const names = Object.keys(shells).join(", ");
    throw new UsageError(`no completion for "${shell}"; there is one for ${names}`);
  }
  await print(terminal.output, script(commandHelp.map(completed)));
  return 0;
}

function completed({ name, synopsis, summary, details }: CommandHelp): Completed {
  const ofServe = name === "serve" ? [configHelp()] : [];
  const lines = [synopsis, ...details, ...(isLocal(name) ? [] : connectionHelp), ...ofServe];
  // Options stand at the beginning of a line or behind others; prose names further ones.
  const flags = lines.flatMap((line) => [...line.matchAll(/(?<![\w-])--[a-z][\w-]*/g)]);
  return {
    name,
    summary,
    verbs: name === "help" ? commandHelp.map((command) => command.name) : verbsOf(name, synopsis),
    flags: [...new Set(flags.map(([flag]) => flag).concat("--help"))].toSorted(),
  };
}

/** The alternatives of a synopsis, such as `parked list GROUP | parked replay|discard GROUP`. */
function verbsOf(name: string, synopsis: string): string[] {
  const alternatives = synopsis.split(" | ").filter((each) => each.startsWith(`${name} `));
  const words = alternatives.flatMap((each) => (each.split(" ")[1] ?? "").split("|"));
  return words.map((word) => word.replace("[", "")).filter((word) => /^[a-z]+$/.test(word));
}

/** What `--output` takes, of all commands that have it. */
const formWords = forms.join(" ");

const wordsOf = ({ verbs, flags }: Completed): string => [...verbs, ...flags].join(" ");

function bash(commands: readonly Completed[]): string {
  const names = commands.map(({ name }) => name).join(" ");
  const cases = commands.map((each) => `    ${each.name}) words="${wordsOf(each)}" ;;`);
  return `# Completion of annals for bash: source <(annals completion bash)
_annals() {
  local words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="${names}"
  else case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac; fi
  case "\${COMP_WORDS[COMP_CWORD-1]}" in -o | --output) words="${formWords}" ;; esac
  # What is none of the words is the name of a file.
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _annals annals
`;
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

function zsh(commands: readonly Completed[]): string {
  const names = commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`);
  const cases = commands.map((each) => `    ${each.name}) compadd -- ${wordsOf(each)} ;;`);
  return `#compdef annals
# Completion of annals for zsh: source <(annals completion zsh)
_annals() {
  local -a commands=(
${names.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  if [[ "\${words[CURRENT-1]}" == (-o|--output) ]]; then
    compadd -- ${formWords}
    return
  fi
  case "\${words[2]}" in
${cases.join("\n")}
  esac
  [[ "\${words[CURRENT]}" == -* ]] || _files
}
compdef _annals annals
`;
}

function fish(commands: readonly Completed[]): string {
  const lines = commands.flatMap(({ name, summary, verbs, flags }) => {
    const seen = `-n '__fish_seen_subcommand_from ${name}'`;
    const long = flags.map((flag) => flag.slice(2));
    return [
      `complete -c annals -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`,
      ...(verbs.length === 0 ? [] : [`complete -c annals ${seen} -a '${verbs.join(" ")}'`]),
      ...long.map((flag) => {
        const values = flag === "output" ? ` -s o -x -a '${formWords}'` : "";
        return `complete -c annals ${seen} -l ${flag}${values}`;
      }),
    ];
  });
  const head = "# Completion of annals for fish: annals completion fish | source";
  return `${[head, ...lines].join("\n")}\n`;
}
