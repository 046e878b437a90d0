// `annals groups`: lists, shows, creates, updates, resets and deletes consumer groups.

import type { Duration } from "@bufbuild/protobuf/wkt";
import type { Group } from "../../gen/annals/v1/consumer_group_service_pb.js";
import { counted, grouped } from "../output/display.ts";
import {
  changesOf,
  changesOptions,
  settingsJson,
  settingsFromFlags,
  settingsOptions,
  settingsText,
  startOf,
  startOptions,
} from "./group-settings.ts";
import { printAnswer, printList } from "../connection/answer.ts";
import {
  CommandError,
  connectionOptions,
  jsonOption,
  parse,
  UsageError,
} from "../arguments/options.ts";
import { withSession } from "../connection/session.ts";
import type { Terminal } from "../output/terminal.ts";
import { ageText, isoTime } from "../arguments/time.ts";

const options = { ...connectionOptions, ...jsonOption } as const;
/** Small pages, because the server counts the lag of every entry. */
const pageSize = 100;
/** The largest lag that the server counts, for one group and in lists. */
const lagEventsMax = 1_000_000n;
const listedLagEventsMax = 10_000n;

type Verb = (args: readonly string[], terminal: Terminal) => Promise<number>;
const verbs = new Map<string, Verb>(
  Object.entries({
    list: listGroups,
    get: getGroup,
    create: createGroup,
    update: updateGroup,
    delete: deleteGroup,
    reset: resetGroup,
  }),
);

/** The first argument is the verb. Without arguments the command lists. */
export function groups(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first = "list", ...rest] = args;
  if (first.startsWith("-")) return listGroups(args, terminal);
  const verb = verbs.get(first);
  if (verb !== undefined) return verb(rest, terminal);
  throw new UsageError(`"${first}" is not one of ${[...verbs.keys()].join(", ")}`);
}

function listGroups(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [prefix = ""] = positionals;
  return printList<Group>(values, terminal, {
    columns: [
      { title: "GROUP", side: "left", columnsMax: 40 },
      { title: "POSITION", side: "right" },
      { title: "LAG", side: "right" },
      { title: "BEHIND", side: "right" },
      { title: "IN FLIGHT", side: "right" },
      { title: "MEMBERS", side: "right" },
      { title: "PARKED", side: "right" },
      { title: "CREATED", side: "left", isExtra: true },
      { title: "SETTINGS", side: "left", isExtra: true },
    ],
    cells: (row) => [
      row.name,
      String(row.position),
      countUpTo(row.lagEvents, listedLagEventsMax),
      behind(row.lag),
      String(row.inFlightCount),
      String(row.memberCount),
      String(row.parkedCount),
      isoTime(row.createdAt),
      settingsText(row.settings)
        .map((pair) => pair.join(" "))
        .join(", "),
    ],
    json: groupJson,
    page: async (session, pageToken) => {
      const request = { prefix, pageSize, pageToken };
      const page = await session.groups.listGroups(request, session.once);
      return { rows: page.groups, nextPageToken: page.nextPageToken };
    },
  });
}

async function getGroup(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const { group } = await withSession(values, terminal, (session) =>
    session.groups.getGroup({ name }, session.once),
  );
  if (group === undefined) throw new CommandError("the server's answer contains no group");
  await printAnswer(terminal, values, groupJson(group), factsOf(group));
  return 0;
}

function factsOf(group: Group): [string, string][] {
  const lag = eventsUpTo(group.lagEvents, lagEventsMax);
  return [
    ["group", group.name],
    ["position", grouped(group.position)],
    ["lag", group.lag === undefined ? "none" : `${lag}, ${behind(group.lag)}`],
    [
      "out",
      group.inFlightCount === 0
        ? "none"
        : `${grouped(group.inFlightCount)} in flight, from ${group.oldestInFlightPosition}`,
    ],
    ["parked", grouped(group.parkedCount)],
    ...settingsText(group.settings),
    ["created", isoTime(group.createdAt)],
    ...group.members.map(({ name, inFlightCount, permits, joinedAt }): [string, string] => {
      const holds = `${inFlightCount} of ${permits} in flight`;
      return [
        "member",
        `${name === "" ? "(no name)" : name}, ${holds}, since ${isoTime(joinedAt)}`,
      ];
    }),
  ];
}

function groupJson(group: Group): object {
  return {
    name: group.name,
    settings: settingsJson(group.settings),
    position: Number(group.position),
    lagEvents: Number(group.lagEvents),
    lagSeconds: group.lag === undefined ? 0 : secondsOf(group.lag),
    inFlightCount: group.inFlightCount,
    oldestInFlightPosition: Number(group.oldestInFlightPosition),
    memberCount: group.memberCount,
    parkedCount: Number(group.parkedCount),
    createdAt: isoTime(group.createdAt),
    members: group.members.map(({ name, inFlightCount, permits, joinedAt }) => {
      return { name, inFlightCount, permits, joinedAt: isoTime(joinedAt) };
    }),
  };
}

/** A count that may have stopped at its limit. */
function countUpTo(count: bigint, max: bigint): string {
  return count >= max ? `${grouped(max)}+` : grouped(count);
}

function eventsUpTo(count: bigint, max: bigint): string {
  return count >= max ? `${grouped(max)}+ events` : counted(count, "event");
}

function behind(lag: Duration | undefined): string {
  if (lag === undefined) return "";
  const seconds = secondsOf(lag);
  return seconds < 1 ? "<1s" : ageText({ ...lag, seconds: BigInt(Math.floor(seconds)), nanos: 0 });
}

function secondsOf({ seconds, nanos }: Duration): number {
  return Number(seconds) + nanos / 1e9;
}

async function createGroup(args: readonly string[], terminal: Terminal): Promise<number> {
  const replaceOption = { replace: { type: "boolean" } } as const;
  const known = { ...options, ...settingsOptions, ...startOptions, ...replaceOption } as const;
  const { values, positionals } = parse(args, known, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const start = startOf(values);
  const { replace = false } = values;
  if (replace && values["after-group"] === undefined) {
    throw new UsageError("--replace goes with --after-group, which names the group to replace");
  }
  const settings = settingsFromFlags(values);
  const request = { name, settings, ...(start !== undefined && { start }), replace };
  const { group } = await withSession(values, terminal, (session) =>
    session.groups.createGroup(request, session.once),
  );
  return said(terminal, values, "created", group);
}

/** Settings without an option keep their values. */
async function updateGroup(args: readonly string[], terminal: Terminal): Promise<number> {
  const known = { ...options, ...changesOptions } as const;
  const { values, positionals } = parse(args, known, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const { group } = await withSession(values, terminal, (session) =>
    session.groups.updateGroup({ name, ...changesOf(values) }, session.once),
  );
  return said(terminal, values, "updated", group);
}

async function resetGroup(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, { ...options, ...startOptions }, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const start = startOf(values);
  if (start === undefined) {
    const rest = "--after, --after-group, --from-time, --from-end";
    throw new UsageError(`missing option: ${rest} or --from-start`);
  }
  const { group } = await withSession(values, terminal, (session) =>
    session.groups.resetGroup({ name, start }, session.once),
  );
  return said(terminal, values, "reset", group);
}

async function deleteGroup(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const { deleted } = await withSession(values, terminal, (session) =>
    session.groups.deleteGroup({ name }, session.once),
  );
  const words = deleted ? `deleted: ${name}` : `there is no group ${name}`;
  await printAnswer(terminal, values, { name, deleted }, words);
  return 0;
}

async function said(
  terminal: Terminal,
  values: { readonly json?: boolean | undefined },
  what: string,
  group: Group | undefined,
): Promise<number> {
  if (group === undefined) throw new CommandError("the server's answer contains no group");
  const lag = `${eventsUpTo(group.lagEvents, lagEventsMax)} to do`;
  const words = `${what}: ${group.name} at position ${group.position}, ${lag}`;
  await printAnswer(terminal, values, groupJson(group), words);
  return 0;
}
