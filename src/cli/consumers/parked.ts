// `annals parked`: lists, replays and discards the parked events of a consumer group.

import type { ParkedEvent } from "../../gen/annals/v1/consumer_group_service_pb.js";
import { counted } from "../output/display.ts";
import { lineOf } from "../output/event-line.ts";
import { printAnswer, printList } from "../connection/answer.ts";
import {
  connectionOptions,
  jsonOption,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { withSession, type Session } from "../connection/session.ts";
import type { Terminal } from "../output/terminal.ts";
import { isoTime } from "../arguments/time.ts";

const options = { ...connectionOptions, ...jsonOption } as const;
const chosenOptions = {
  ...options,
  all: { type: "boolean" },
  epoch: { type: "string" },
} as const;
const pageSize = 100;
/** Positions per request. */
const positionsMax = 1_000;

export function parked(args: readonly string[], terminal: Terminal): Promise<number> {
  const [verb = "", ...rest] = args;
  switch (verb) {
    case "list":
      return listParked(rest, terminal);
    case "replay":
      return change(rest, terminal, "replayed", async ({ groups, once }, request) => {
        return (await groups.replayParked(request, once)).replayedCount;
      });
    case "discard":
      return change(rest, terminal, "discarded", async ({ groups, once }, request) => {
        return (await groups.discardParked(request, once)).discardedCount;
      });
    default:
      throw new UsageError(`"${verb}" is not one of list, replay, discard`);
  }
}

function listParked(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [group = ""] = positionals;
  return printList<ParkedEvent>(values, terminal, {
    columns: [
      { title: "POSITION", side: "right" },
      { title: "PARKED AT", side: "left" },
      { title: "ATTEMPTS", side: "right" },
      { title: "STREAM@VERSION", side: "left", columnsMax: 36 },
      { title: "TYPE", side: "left", columnsMax: 28, wraps: true },
      { title: "ID", side: "left", isExtra: true },
      { title: "REASON", side: "left" },
    ],
    cells: ({ position, parkedAt, attempts, reason, event }) => [
      String(position),
      isoTime(parkedAt),
      String(attempts),
      event === undefined || event.stream === "" ? "" : `${event.stream}@${event.version}`,
      event?.type ?? "(removed)",
      event?.id ?? "",
      reason,
    ],
    json: ({ position, parkedAt, attempts, reason, event }) => ({
      position: Number(position),
      attempts,
      reason,
      parkedAt: isoTime(parkedAt),
      ...(event !== undefined && { event: JSON.parse(lineOf(event)) as object }),
    }),
    page: async ({ groups, once }, pageToken) => {
      const page = await groups.listParked({ group, pageSize, pageToken }, once);
      return { rows: page.parked, nextPageToken: page.nextPageToken };
    },
  });
}

type Change = (
  session: Session,
  request: { readonly group: string; readonly positions: bigint[]; readonly epoch: string },
) => Promise<bigint>;

async function change(
  args: readonly string[],
  terminal: Terminal,
  what: "replayed" | "discarded",
  act: Change,
): Promise<number> {
  const { values, positionals } = parse(args, chosenOptions, { min: 1, max: 100_000 });
  const [group = "", ...chosen] = positionals;
  if (chosen.length > 0 === (values.all ?? false)) {
    throw new UsageError("missing argument: positions or --all");
  }
  const { epoch = "" } = values;
  if (epoch !== "" && chosen.length === 0) throw new UsageError("--epoch goes with positions");
  const positions = chosen.map((text) => BigInt(wholeNumber(text, "POSITION", { min: 1 })));
  const count = await withSession(values, terminal, async (session) => {
    if (chosen.length === 0) return act(session, { group, positions, epoch });
    let sum = 0n;
    for (let from = 0; from < positions.length; from += positionsMax) {
      const some = positions.slice(from, from + positionsMax);
      sum += await act(session, { group, positions: some, epoch });
    }
    return sum;
  });
  const words = `${what}: ${counted(count, "event")} of ${group}`;
  await printAnswer(terminal, values, { group, [what]: Number(count) }, words);
  return 0;
}
