// What `annals help` says: a line for each command, and a page for one.

export interface CommandHelp {
  readonly name: string;
  readonly synopsis: string;
  readonly summary: string;
  /** Options and remarks, a line each. */
  readonly details: readonly string[];
}

const selection = [
  "STREAM                  one stream",
  "--type T, --prefix P    events of this type; in streams that begin with this (repeat: any of)",
  "--tag T                 events with this tag (repeat: all of)",
  '--query-json JSON       a whole query: {"items":[{"types":["A"]},{"tags":["b"]}]}',
];
const range = [
  "--from-version N, --from-position N, --from-time TIME    begin there (inclusive)",
  "--to-version N, --to-position N, --to-time TIME          end there (inclusive)",
  "TIME is 2026-01-31 or 2026-01-31T12:00:00.000000Z",
];
const json = "--json                  JSON, one object a line";

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
      "JSON                    the payload; - reads it from standard input; absent: no payload",
      "--data-file FILE        the payload as bytes from a file",
      "--content-type TYPE     default application/json, with --data-file application/octet-stream",
      "--tag T, --meta K=V     a tag, a metadata entry (repeat for more)",
      "--id UUID               the event's id: makes it safe to run the same command again",
      "--expected-version N    refuse (exit code 3) unless the stream is at version N",
      "--expected exists|absent",
      json,
    ],
  },
  {
    name: "read",
    synopsis: "read [STREAM] [options]",
    summary: "print events",
    details: [
      ...selection,
      ...range,
      "--backwards             newest first",
      "--limit N               at most N events",
      "--with-removed          removed events too: their place, and who removed them",
      json,
    ],
  },
  {
    name: "tail",
    synopsis: "tail [STREAM] [-n N] [-f] [options]",
    summary: "print the last events, and with -f the later ones as they happen",
    details: [
      "-n, --lines N           how many (10)",
      "-f, --follow            go on until Ctrl-C; reconnects without a gap or a duplicate",
      ...selection,
      json,
    ],
  },
  {
    name: "streams",
    synopsis:
      "streams [PREFIX] | streams update STREAM [options] | streams delete STREAM [options]",
    summary: "list streams; say how one is kept; delete one",
    details: [
      "update: the whole policy from now on",
      "  --max-age AGE         only events younger than this: 12h, 90d",
      "  --max-count N         only the newest N events",
      "  --truncate-before N   only versions from N on",
      "  --label K=V           a free word about the stream (repeat for more)",
      "  --keep-all            none of these: keep what is left, and all that comes",
      "delete: an append brings the stream back, versions go on",
      "  --permanent           no append ever again",
      "both:",
      "  --expected-version N, --expected exists|absent",
      "  --actor TEXT, --reason TEXT    who asks, and why: kept in the log",
      json,
    ],
  },
  {
    name: "stream",
    synopsis: "stream STREAM",
    summary: "show one stream in numbers",
    details: [json],
  },
  {
    name: "types",
    synopsis: "types [PREFIX]",
    summary: "list the event types ever recorded",
    details: [json],
  },
  {
    name: "state",
    synopsis: "state STREAM [--version N | --time TIME]",
    summary: "show a stream's state, folded from its JSON events by merge patch",
    details: ["--version N, --time TIME    as of then; absent: now", json],
  },
  {
    name: "snapshots",
    synopsis: "snapshots STREAM [--kind KIND]",
    summary: "list a stream's snapshots",
    details: ["--kind KIND             only this kind", json],
  },
  {
    name: "groups",
    synopsis:
      "groups [list [PREFIX]] | groups get GROUP | groups create|update|reset GROUP [options] | " +
      "groups delete GROUP",
    summary: "consumer groups: list them, look at one, create, change, reset or delete one",
    details: [
      "create: which events, in what order; both stay as they are",
      "  --stream S, --prefix P, --type T    events of these streams, of these types (repeat: any)",
      "  --tag T               with this tag (repeat: all of)",
      "  --query-json JSON     a whole query; --every-event: all of them (the default)",
      "  --ordering KEY        stream (the default), category, none, tag:PREFIX",
      "create, update: update leaves what is not said as it is",
      "  --lease 30s           how long a member may take for an event",
      "  --attempts 10         deliveries before an event is parked",
      "  --retry-delay 1s, --retry-delay-max 1m    before it comes again; doubles each time",
      "  --in-flight 10000     events at work over all members",
      "create, reset: where it begins",
      "  --from-start (the default of create), --after POSITION, --from-time TIME, --from-end",
      "  --after-group OTHER   where that group is; create with --replace puts the new group in",
      "                        its place: that one ends, its parked events are the new one's",
      json,
    ],
  },
  {
    name: "consume",
    synopsis: "consume GROUP [options]",
    summary: "take part in a group: print deliveries, acknowledge each",
    details: [
      "Goes on until Ctrl-C, and joins again after a break. What is not printed comes again.",
      "--permits N             how many events at a time (16)",
      "-n, --limit N           so many deliveries, then end",
      "--member NAME           this member's name, for people; default host and process",
      "--exec COMMAND          instead of printing: run it for each, with the delivery as a line",
      "                        of JSON on its standard input; exit code 0 acknowledges, with any",
      "                        other the event comes again, its last errors as the reason",
      json,
    ],
  },
  {
    name: "parked",
    synopsis: "parked list GROUP | parked replay|discard GROUP (POSITION... | --all)",
    summary: "events a group has put aside: list them, hand them out again, forget them",
    details: [json],
  },
  {
    name: "checkpoints",
    synopsis:
      "checkpoints [list [PREFIX]] | checkpoints get|delete CONSUMER | " +
      "checkpoints save CONSUMER POSITION [options]",
    summary: "how far named consumers have got",
    details: [
      "save:",
      "  --reset               also backwards",
      "  --meta K=V            a fact about the consumer (repeat for more)",
      json,
    ],
  },
  {
    name: "info",
    synopsis: "info",
    summary: "show version, head, durability and limits of the server",
    details: [json],
  },
  {
    name: "health",
    synopsis: "health",
    summary: "exit with 0 if the server is serving, else with 1",
    details: [json],
  },
  {
    name: "import",
    synopsis: "import [FILE | -] [options]",
    summary: "store the events of a file, a JSON object a line",
    details: [
      "Each event is stored exactly once, in the order of the file, however often the command is",
      "stopped and run again. The format is described in docs/command-line.md.",
      "--namespace NAME        ids for lines without one, made of NAME, line number and text:",
      "                        one name for one file, another for every other file",
      "--stream STREAM         the stream of lines that name none",
      "--dry-run               read and count; send nothing (limits are for the server to check)",
      json,
    ],
  },
  {
    name: "export",
    synopsis: "export [STREAM] [options]",
    summary: "write events as a file that can be imported, in the order of their positions",
    details: [...selection, "--after POSITION        go on after an earlier export"],
  },
  {
    name: "verify",
    synopsis: "verify [FOLDER | ADDRESS] [options]",
    summary: "check everything: a store's folder, a backup, or what a server answers",
    details: [
      "FOLDER                  a store, also while it is served, or a backup; nothing in it is",
      "                        changed; absent: all that the server at --address answers",
      "--scratch FOLDER        for some megabytes while a store is looked at",
      "Prints what is not as it was written; exit code 1 if there is any.",
      json,
    ],
  },
  {
    name: "backup",
    synopsis: "backup STORE BACKUP [options]",
    summary: "back up a store's folder, also while it is being served",
    details: [
      "STORE                   the store's folder, on this machine",
      "BACKUP                  a folder: new or empty, or this store's backup, which then grows by",
      "                        what has come since",
      "--scratch FOLDER        for some megabytes while the store is looked at",
      json,
    ],
  },
  {
    name: "restore",
    synopsis: "restore BACKUP STORE",
    summary: "make a store from its backup, and prove that it is the same",
    details: ["STORE                   a folder: new or empty", json],
  },
  {
    name: "help",
    synopsis: "help [COMMAND]",
    summary: "explain a command",
    details: [],
  },
  { name: "version", synopsis: "version", summary: "print the version", details: [] },
];

const local = new Set(["serve", "backup", "restore", "help", "version"]);
const connection = [
  "-a, --address ADDRESS   HOST:PORT or unix:PATH; default $ANNALS_ADDRESS, else 127.0.0.1:7420",
  "--timeout DURATION      10s for one answer, none for streams",
  "--tls, --tls-ca FILE, --tls-cert FILE, --tls-key FILE, --tls-server-name NAME",
];

/** All commands, a line each. */
export function overview(): string {
  const width = Math.max(...commandHelp.map(({ name }) => name.length));
  const lines = commandHelp.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  const head = ["annals COMMAND [arguments]", "", ...lines];
  const codes = "Exit codes: 0 ok, 1 failure, 2 wrong command line, 3 conflict.";
  return [...head, "", "annals help COMMAND explains one.", codes, ""].join("\n");
}

/** One command, or undefined where there is none of that name. */
export function helpPage(name: string): string | undefined {
  const help = commandHelp.find((command) => command.name === name);
  if (help === undefined) return undefined;
  const { synopsis, summary, details } = help;
  const lines = local.has(name) ? details : [...details, ...connection];
  const body = lines.map((line) => `  ${line}`);
  return [`annals ${synopsis}`, "", `  ${summary}`, "", ...body, ""].join("\n");
}
