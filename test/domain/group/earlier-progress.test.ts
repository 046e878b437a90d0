// Progress that 0.1 stored, where the query and the ordering of a group could be changed while it
// ran: read as it is, nothing that was owed is lost. The fixture was written by that code from
// generated histories, cut off at a random moment.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadProgress } from "../../../src/domain/group/progress-codec.ts";
import { GroupStateMachine } from "../../../src/domain/group/state-machine.ts";
import { keyOf, type GroupSettings } from "../../../src/domain/group/settings.ts";
import { anyEvent, matches, type QueryItem } from "../../../src/domain/query.ts";

interface EarlierHistory {
  readonly settings: GroupSettings;
  /** Each `stream|type|tags`. */
  readonly log: readonly string[];
  readonly base: string;
  readonly deltas: readonly string[];
  /** Positions that were not settled, and parked ones that were being replayed. */
  readonly owed: readonly number[];
  readonly replays: readonly number[];
  readonly position: number;
}

const file = new URL("../../fixtures/groups-0.1.json", import.meta.url);
const { histories } = JSON.parse(readFileSync(file, "utf8"), (key, value: unknown) =>
  // Queries had fewer parts then.
  key === "items" ? (value as QueryItem[]).map((item) => ({ ...anyEvent, ...item })) : value,
) as { histories: EarlierHistory[] };

/** What a group that is loaded from there delivers in order, and parks, until nothing is left. */
function dealtWith({ settings, log, base, deltas, position }: EarlierHistory): {
  readonly delivered: readonly number[];
  readonly parked: readonly number[];
} {
  const events = log.map((line, i) => {
    const [stream = "", type = "", tags = ""] = line.split("|");
    const placement = { position: i + 1, version: i + 1, recordedAt: i + 1 };
    return { id: "", stream, type, tags: tags.split(" ").filter(Boolean), ...placement };
  });
  const own = events.filter((event) => matches(settings.query, event));
  const hex = (text: string) => Buffer.from(text, "hex");
  const { progress, baseSequence } = loadProgress(hex(base), deltas.map(hex));
  const machine = new GroupStateMachine(settings, progress, baseSequence);
  expect(machine.position).toBe(position);
  machine.join(1, 1_000);
  const delivered: number[] = [];
  const parked: number[] = [];
  for (let now = 10_000_000, idle = 0; idle < 3; now += 100_000) {
    for (const event of own) if (event.position > machine.through) machine.offer(event, now);
    machine.pass(events.length);
    for (let next = machine.nextReading(); next !== undefined; next = machine.nextReading()) {
      const { after, to, queue } = next;
      const found = own.filter((event) => {
        const isOfKey = keyOf(event, event.position, settings.ordering) === queue.key;
        return event.position > after && event.position <= to && isOfKey;
      });
      machine.readMore(next, found, to, now);
    }
    for (const one of machine.nextUnplaced(100)) machine.place(one, events[one - 1], now);
    machine.tick(now);
    const given = machine.deliver(now);
    for (const delivery of given) {
      machine.sent(delivery);
      delivered.push(delivery.event.position);
      machine.ack(1, [delivery.token], now);
    }
    // A change may have left an event with fewer attempts than it has had.
    parked.push(...machine.takeWrite().parked.map((one) => one.position));
    machine.written();
    idle = given.length === 0 ? idle + 1 : 0;
  }
  expect(machine.position).toBe(events.length);
  expect(machine.unsettledCount).toBe(0);
  return { delivered, parked };
}

test.each(histories.map((history, i) => [i, history] as const))(
  "everything that was owed is delivered or parked, in the order of its key: history %i",
  (_, history) => {
    const { delivered, parked } = dealtWith(history);
    const all = [...delivered, ...parked];
    expect(new Set(all).size).toBe(all.length);
    const due = [...history.owed, ...history.replays];
    expect(due.filter((position) => !all.includes(position))).toEqual([]);
    const keys = new Map<string, number>();
    for (const position of delivered) {
      if (history.replays.includes(position)) continue;
      const [stream = "", , tags = ""] = (history.log[position - 1] ?? "").split("|");
      const key = keyOf({ stream, tags: tags.split(" ") }, position, history.settings.ordering);
      expect(position).toBeGreaterThan(keys.get(key) ?? 0);
      keys.set(key, position);
    }
  },
);
