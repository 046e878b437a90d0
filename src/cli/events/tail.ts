// `annals tail`: prints the last events of a selection and, with -f, every later one when it is
// durable. Both come from one subscription. It is resumed after the last position printed, so that
// a lost connection or a restarted server causes neither a gap nor a duplicate. With -f, a server
// that is not up yet is waited for.

import { setTimeout as pause } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { isWorthRetrying } from "../../client/store/call-failure.ts";
import { RecordedEventSchema, View } from "../../gen/annals/v1/event_pb.js";
import { Direction, type SubscribeResponse } from "../../gen/annals/v1/read_pb.js";
import { eventsOn } from "../output/event-table.ts";
import { refuseArray } from "../output/form.ts";
import {
  CommandError,
  connectionOptions,
  jsonOption,
  parse,
  wholeNumber,
} from "../arguments/options.ts";
import {
  selectionFromFlags,
  selectionOptions,
  type SelectionInit,
} from "../arguments/selection.ts";
import { withSession, type Session } from "../connection/session.ts";
import { paintFor, print, say, type Terminal } from "../output/terminal.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  ...selectionOptions,
  follow: { type: "boolean", short: "f" },
  lines: { type: "string", short: "n" },
} as const;

const linesDefault = 10;
const backoffMinMs = 100;
const backoffMaxMs = 5_000;

/** Prints the last events and, with -f, continues until Ctrl-C. */
export async function tail(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const selection = selectionFromFlags(values, positionals[0]);
  const lines = values.lines === undefined ? linesDefault : wholeNumber(values.lines, "--lines");
  if (values.follow === true) refuseArray(terminal, "tail -f");
  const shown = eventsOn(terminal, values.json);
  const show = async (message: SubscribeResponse["message"]) => {
    if (message.case === "batch") await print(terminal.output, shown.text(message.value.events));
    else if (message.case === "caughtUp" && terminal.errors.isTTY === true) {
      const summary = `-- caught up at position ${message.value.position}, waiting --`;
      await print(terminal.errors, `${paintFor(terminal.errors, terminal).dim(summary)}\n`);
    }
  };
  await withSession(values, terminal, async (session) => {
    const start = () => startOf(session, selection, lines);
    if (values.follow === true) return follow(session, selection, start, show, terminal);
    const { after } = await start();
    const from = { case: "fromPosition", value: after + 1n } as const;
    for await (const { message } of session.store.read({ selection, from }, session.streaming)) {
      if (message.case === "batch") await show(message);
    }
  });
  await print(terminal.output, shown.end());
  return 0;
}

/** A position to begin after, and its epoch. */
interface Start {
  readonly after: bigint;
  readonly epoch: string;
}

/**
 * The position before the last `lines` events. They are looked up without payloads, and none is
 * kept in memory.
 */
async function startOf(session: Session, selection: SelectionInit, lines: number): Promise<Start> {
  const { store, streaming } = session;
  if (lines === 0) {
    const { head, epoch } = await store.getInfo({}, session.once);
    return { after: head, epoch };
  }
  const request = { selection, direction: Direction.BACKWARDS, view: View.HEADERS };
  let after = 0n;
  let count = 0;
  let epoch = "";
  const answers = store.read({ ...request, limit: BigInt(lines) }, streaming);
  for await (const { message, ...named } of answers) {
    if (named.epoch !== "") ({ epoch } = named);
    if (message.case !== "batch") continue;
    count += message.value.events.length;
    after = (message.value.events.at(-1) ?? create(RecordedEventSchema)).position - 1n;
  }
  return { after: count < lines ? 0n : after, epoch };
}

type Show = (message: SubscribeResponse["message"]) => Promise<void>;

async function follow(
  session: Session,
  selection: SelectionInit,
  start: () => Promise<Start>,
  show: Show,
  terminal: Terminal,
): Promise<void> {
  const { signal } = session;
  let after: bigint | undefined;
  let epoch = "";
  let backoffMs = backoffMinMs;
  let storeId = "";
  const deliver = async ({ message, ...named }: SubscribeResponse) => {
    if (named.epoch !== "") ({ epoch } = named);
    const position = resumePosition(message);
    const seen = after ?? 0n;
    if (message.case === "batch" && (message.value.events[0]?.position ?? 0n) <= seen) {
      throw new CommandError(`the server repeated an event at or before position ${seen}`);
    }
    await show(message);
    if (position > seen) after = position;
    backoffMs = backoffMinMs;
  };
  for (;;) {
    try {
      storeId = await sameStore(session, storeId);
      if (after === undefined) ({ after, epoch } = await start());
      const begin = { start: { case: "afterPosition", value: after } as const, epoch };
      const messages = session.store.subscribe({ selection, ...begin }, { signal });
      for await (const answer of messages) await deliver(answer);
    } catch (error) {
      if (!isWorthRetrying(error)) throw error;
      if (backoffMs === backoffMinMs) {
        const where = after === undefined ? "" : ` after position ${after}`;
        await say(terminal.errors, `${(error as Error).message}; trying again${where}`);
      }
    }
    await pause(backoffMs, undefined, { signal });
    backoffMs = Math.min(backoffMs * 2, backoffMaxMs);
  }
}

/**
 * Positions are only valid in one store. A different store at the same address is refused. The
 * server refuses those of another history of its store.
 */
async function sameStore(session: Session, known: string): Promise<string> {
  const { storeId } = await session.store.getInfo({}, session.once);
  if (known !== "" && storeId !== known) {
    throw new CommandError(`the store was replaced (${known} before, ${storeId} now)`);
  }
  return storeId;
}

function resumePosition(message: SubscribeResponse["message"]): bigint {
  switch (message.case) {
    case "batch":
      return message.value.events.at(-1)?.position ?? 0n;
    case "caughtUp":
    case "fellBehind":
    case "checkpoint":
      return message.value.position;
    case undefined:
      return 0n;
  }
}
