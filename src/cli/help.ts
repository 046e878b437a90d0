// The texts of `annals help`: one line per command, and one page for each.

import { formLine, selectionLines, wideLine, type CommandHelp } from "./help-lines.ts";
import { operatorHelp } from "./operator-help.ts";

const range = [
  "--from-version N, --from-position N, --from-time TIME    first (inclusive)",
  "--to-version N, --to-position N, --to-time TIME          last (inclusive)",
  "TIME is 2026-01-31 or 2026-01-31T12:00:00.000000Z",
];

export const commandHelp: readonly CommandHelp[] = [
  {
    name: "serve",
    synopsis: "serve [options]",
    summary: "start the server",
    details: ["annals serve --help lists its options"],
  },
  {
    name: "append",
    synopsis: "append STREAM TYPE [JSON | -] [options]",
    summary: "append one event",
    details: [
      "JSON                    the payload; - reads it from standard input; without it: no payload",
      "--data-file FILE        read the payload from a file, as bytes",
      "--content-type TYPE     default application/json, with --data-file application/octet-stream",
      "--tag T, --meta K=V     add a tag, a metadata entry (repeat for more)",
      "--id UUID               the event's id, which makes it safe to repeat the command",
      "--expected-version N    refuse (exit code 3) unless the stream is at version N",
      "--expected exists|absent    refuse unless the stream has events, or has none",
      formLine,
    ],
  },
  {
    name: "read",
    synopsis: "read [STREAM] [options]",
    summary: "print events",
    details: [
      ...selectionLines,
      ...range,
      "--backwards             newest first",
      "--limit N               at most N events",
      "--with-removed          also show removed events: their positions and why they were removed",
      wideLine,
      formLine,
    ],
  },
  {
    name: "event",
    synopsis: "event ID [--stream STREAM]",
    summary: "show the event with an id",
    details: [
      "--stream STREAM         only if it is in this stream; a principal then needs `read` of this",
      "                        stream, otherwise of everything",
      formLine,
    ],
  },
  {
    name: "tail",
    synopsis: "tail [STREAM] [-n N] [-f] [options]",
    summary: "print the last events, and with -f new ones as they arrive",
    details: [
      "-n, --lines N           how many events (10)",
      "-f, --follow            continue until Ctrl-C; reconnects without gaps or duplicates",
      ...selectionLines,
      wideLine,
      formLine,
    ],
  },
  {
    name: "streams",
    synopsis:
      "streams [PREFIX] | streams update STREAM [options] | streams delete STREAM [options]",
    summary: "list streams; set what a stream keeps; delete a stream",
    details: [
      "update: an option that is not given leaves its field unchanged",
      "  --max-age AGE         keep only events younger than this: 12h, 90d; none: of any age",
      "  --max-count N         keep only the newest N events; none: any number",
      "  --keep-all            remove both limits; what they removed does not come back",
      "  --truncate-before N   keep only versions from N on; never decreases",
      "  --label K=V           replaces all labels of the stream (repeat for more)",
      "  --no-labels           remove all labels",
      "delete: removes all events; a later append continues with the next version",
      "  --permanent           refuse every later append",
      "both:",
      "  --expected-version N, --expected exists|absent",
      "  --actor TEXT, --reason TEXT    who did this and why; recorded in the log",
      wideLine,
      formLine,
    ],
  },
  {
    name: "stream",
    synopsis: "stream STREAM",
    summary: "show a stream's version, events and policy",
    details: [formLine],
  },
  {
    name: "types",
    synopsis: "types [PREFIX]",
    summary: "list event types",
    details: [wideLine, formLine],
  },
  {
    name: "state",
    synopsis: "state STREAM [--version N | --time TIME]",
    summary: "show a stream's state, made from its JSON events by JSON Merge Patch",
    details: [
      "--version N, --time TIME    the state at that version or time; without it: now",
      formLine,
    ],
  },
  {
    name: "snapshots",
    synopsis: "snapshots STREAM [--kind KIND]",
    summary: "list a stream's snapshots",
    details: ["--kind KIND             only snapshots of this kind", wideLine, formLine],
  },
  {
    name: "groups",
    synopsis:
      "groups [list [PREFIX]] | groups get GROUP | groups create|update|reset GROUP [options] | " +
      "groups delete GROUP",
    summary: "list, show, create, update, reset or delete consumer groups",
    details: [
      "create: the events and their order, which cannot be changed later",
      "  --stream S, --prefix P, --type T    of this stream, prefix or type (repeat)",
      "  --tag T               with this tag (repeated: with all of them)",
      "  --query-json JSON     a query as JSON; --every-event: all events (the default)",
      "  --ordering KEY        stream (the default), category, none, tag:PREFIX",
      "create, update: update only changes the options that are given",
      "  --lease 30s           time for a member to acknowledge an event",
      "  --attempts 10         deliveries before an event is parked",
      "  --retry-delay 1s, --retry-delay-max 1m    wait before a redelivery; doubles each time",
      "  --in-flight 10000     unacknowledged events over all members",
      "create, reset: where the group begins",
      "  --from-start (the default of create), --after POSITION, --from-time TIME, --from-end",
      "  --epoch EPOCH         the epoch of --after",
      "  --after-group OTHER   where that group is; with --replace, create also ends that group",
      "                        and takes over its parked events",
      wideLine,
      formLine,
    ],
  },
  {
    name: "consume",
    synopsis: "consume GROUP [options]",
    summary: "join a consumer group: print its deliveries and acknowledge each",
    details: [
      "Continues until Ctrl-C and reconnects. Deliveries that were not printed are sent again.",
      "--permits N             at most N unacknowledged events (16)",
      "-n, --limit N           end after N deliveries",
      "--member NAME           this member's name (default: host and process)",
      "--exec COMMAND          run COMMAND for each delivery instead of printing it, with a line",
      "                        of JSON on its standard input. Exit code 0 acknowledges. Any other",
      "                        makes it come again, with the last errors as the reason",
      wideLine,
      formLine,
    ],
  },
  {
    name: "parked",
    synopsis: "parked list GROUP | parked replay|discard GROUP (POSITION... | --all)",
    summary: "list, replay or discard a group's parked events",
    details: ["--epoch EPOCH           the epoch of the positions: see `info`", wideLine, formLine],
  },
  {
    name: "checkpoints",
    synopsis:
      "checkpoints [list [PREFIX]] | checkpoints get|delete CONSUMER | " +
      "checkpoints save CONSUMER POSITION [options]",
    summary: "list, show, save or delete the checkpoints of named consumers",
    details: [
      "save:",
      "  --reset               allow a lower position than the saved one",
      "  --epoch EPOCH         the epoch of POSITION",
      "  --meta K=V            a metadata entry (repeat for more)",
      wideLine,
      formLine,
    ],
  },
  {
    name: "info",
    synopsis: "info",
    summary: "show version, head, durability and limits of the server",
    details: [formLine],
  },
  {
    name: "health",
    synopsis: "health",
    summary: "exit with 0 if the server is serving, otherwise with 1",
    details: [formLine],
  },
  {
    name: "top",
    synopsis: "top [ADDRESS] [options]",
    summary: "show what a server is doing: rates, latencies, queues, lag, memory, disk",
    details: [
      "From the server's metrics. A terminal is rewritten at every look, until Ctrl-C; a file or a",
      "pipe gets each look as text. Where the server asks who calls: the role observer.",
      "--every DURATION        between looks: at least 1s; the default is 2s",
      "--once                  end after the figures of one such time",
      formLine,
    ],
  },
  {
    name: "bench",
    synopsis: "bench [ADDRESS] [options]",
    summary: "put a load on a server and print how fast it was",
    details: [
      "What it appends stays. A store that has events is refused without --yes.",
      "--in-flight N           callers that append, each one append at a time (64); 0: only read",
      "--batch N               events in each append (1)",
      "--bytes N               bytes of payload in each event (200)",
      "--reads N               callers that read one of the streams after another (0)",
      "--subscribers N         subscriptions to all of the streams (0)",
      "--streams N             how many streams (1000)",
      "--stream-prefix TEXT    how their names begin; default bench- and a random number",
      "--seconds N             how long (10)",
      "--yes                   also where the store has events",
      formLine,
    ],
  },
  {
    name: "ui",
    synopsis: "ui [options]",
    summary: "print the address of the console, the page that the server shows to browsers",
    details: [
      "-a, --address ADDRESS   HOST:PORT; default $ANNALS_ADDRESS, else 127.0.0.1:7420",
      "--tls                   the server speaks TLS",
      "--open                  open it in the browser, too",
      formLine,
    ],
  },
  ...operatorHelp,
  {
    name: "completion",
    synopsis: "completion bash|zsh|fish",
    summary: "print a script by which a shell completes commands and options",
    details: [
      "bash: source <(annals completion bash)      in ~/.bashrc",
      "zsh:  source <(annals completion zsh)       in ~/.zshrc, behind compinit",
      "fish: annals completion fish | source       in ~/.config/fish/config.fish",
    ],
  },
  {
    name: "help",
    synopsis: "help [COMMAND]",
    summary: "explain a command",
    details: [],
  },
  { name: "version", synopsis: "version", summary: "print the version", details: [] },
];

/** They are no clients of one server, and have none of its options. */
const local = new Set(
  "serve ui backup restore copy salvage tokens completion context help version".split(" "),
);
export const connectionHelp: readonly string[] = [
  "-a, --address ADDRESS   HOST:PORT or unix:PATH; default $ANNALS_ADDRESS, else 127.0.0.1:7420",
  "--timeout DURATION      the default is 10s, and none for streams",
  "--tls, --tls-ca FILE, --tls-cert FILE, --tls-key FILE, --tls-server-name NAME",
  "--token-file FILE       the token to show; default $ANNALS_TOKEN_FILE, else $ANNALS_TOKEN",
  "--context NAME          the options kept under this name by `annals context add`; default",
  "                        $ANNALS_CONTEXT",
];

export function isLocal(command: string): boolean {
  return local.has(command);
}

/** The lines of a command's page. */
export function helpLinesOf(name: string): readonly string[] {
  return commandHelp.find((command) => command.name === name)?.details ?? [];
}

/** All commands, one per line. */
export function overview(): string {
  const width = Math.max(...commandHelp.map(({ name }) => name.length));
  const lines = commandHelp.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  const head = ["annals COMMAND [arguments]", "", ...lines];
  const codes = "Exit codes: 0 ok, 1 failure, 2 wrong command line, 3 conflict.";
  return [...head, "", "annals help COMMAND explains a command.", codes, ""].join("\n");
}

/** The page of a command, or undefined if there is no such command. */
export function helpPage(name: string): string | undefined {
  const help = commandHelp.find((command) => command.name === name);
  if (help === undefined) return undefined;
  const { synopsis, summary, details } = help;
  const lines = isLocal(name) ? details : [...details, ...connectionHelp];
  const body = lines.map((line) => `  ${line}`);
  return [`annals ${synopsis}`, "", `  ${summary}`, "", ...body, ""].join("\n");
}
