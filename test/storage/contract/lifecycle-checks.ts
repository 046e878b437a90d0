// What the lifecycle contract checks: two streams, and every way of asking a storage which of their
// events are left.
import { expect } from "vitest";
import type { CommitEvent } from "../../../src/domain/event.ts";
import { decodeRecord, recordsIn, scanRecord, scanRecordedAt } from "../../../src/domain/record.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, newEvents, recordsOf } from "../../support/events.ts";
import { expectBytes, expectRead, queryOf, selectQuery, selectStream } from "./checks.ts";

/** Streams `a` and `b` in turn, `count` events each, `perCommit` events of both in a commit. */
export async function fill(storage: Storage, count: number, perCommit = 3): Promise<CommitEvent[]> {
  const events: CommitEvent[] = [];
  for (let at = 0; at < count * 2; at += perCommit) {
    const { commit } = await commitEvents(
      storage,
      newEvents(Math.min(perCommit, count * 2 - at), (i) => ({
        stream: (at + i) % 2 === 0 ? "a" : "b",
        type: (at + i) % 4 < 2 ? "Early" : "Late",
        tags: [`n:${at + i}`],
      })),
    );
    events.push(...commit.events);
  }
  return events;
}

/** Every way of reading sees exactly these of all the events. */
export async function expectLeft(
  storage: Storage,
  all: readonly CommitEvent[],
  left: readonly CommitEvent[],
): Promise<void> {
  const head = storage.head().position;
  const where = (keep: (event: CommitEvent) => boolean) => left.filter(keep);
  for (const asOf of [undefined, head]) {
    const at = asOf === undefined ? {} : { asOf };
    await expectRead(storage, at, left);
    for (const stream of ["a", "b"]) {
      const own = where((event) => event.stream === stream);
      await expectRead(storage, { ...at, selection: selectStream(stream) }, own);
    }
    const late = where((event) => event.type === "Late");
    await expectRead(storage, { ...at, selection: selectQuery({ types: ["Late"] }) }, late);
    const prefix = { streamPrefixes: ["a"] };
    const inA = where((event) => event.stream === "a");
    await expectRead(storage, { ...at, selection: selectQuery(prefix) }, inA);
  }
  for (const direction of ["forwards", "backwards"] as const) {
    for (const stream of [undefined, "a", "b"]) {
      const selection = stream === undefined ? ({ kind: "all" } as const) : selectStream(stream);
      const read = { withRemovedRecords: true, asOf: head, selection, direction, batchEvents: 7 };
      const records = await recordsOf(storage, read);
      if (direction === "backwards") records.reverse();
      const own = all.filter((event) => stream === undefined || event.stream === stream);
      expect(records.map(placeOf)).toEqual(own.map(({ frame }) => placeOf(recordIn(frame))));
      const whole = records.filter((record) => decodeRecord(record).removed === undefined);
      const some = left.filter((event) => own.includes(event));
      expectBytes(
        Buffer.concat(whole),
        Buffer.concat(some.map(({ frame }) => recordIn(frame))),
        "",
      );
    }
  }
  const placed = await recordsOf(storage, { withRemoved: true });
  expect(placed.map(placeOf)).toEqual(all.map(({ frame }) => placeOf(recordIn(frame))));
  await expectFacts(storage, all, left);
  const judged = all.map(({ stream, version, frame }) => {
    return { stream, version, recordedAt: scanRecordedAt(recordIn(frame)) };
  });
  expect(await storage.areRemoved(judged)).toEqual(all.map((event) => !left.includes(event)));
}

function recordIn(frame: Uint8Array): Uint8Array {
  const [record] = recordsIn(frame);
  return record ?? expect.unreachable("a frame holds a record");
}

/** What stays of an event that was removed, whatever became of its space. */
function placeOf(record: Uint8Array): unknown {
  return { ...scanRecord(record), recordedAt: scanRecordedAt(record) };
}

async function expectFacts(
  storage: Storage,
  all: readonly CommitEvent[],
  left: readonly CommitEvent[],
): Promise<void> {
  const conditions = all.map(({ tags }) => ({ query: queryOf({ tags }), after: 0 }));
  const ids = all.map(({ id }) => id);
  const { versions, matches, events } = await storage.facts({
    streams: ["a", "b"],
    ids,
    conditions,
  });
  expect([...events.keys()].toSorted(), "ids stay taken").toEqual(ids.toSorted());
  const seen = new Set(left);
  expect(matches).toEqual(all.map((event) => (seen.has(event) ? event.position : 0)));
  for (const stream of ["a", "b"]) {
    const own = all.filter((event) => event.stream === stream);
    const some = left.filter((event) => event.stream === stream);
    expect(versions.get(stream)).toBe(own.length);
    expect(await storage.stream(stream)).toMatchObject({
      version: own.length,
      eventCount: some.length,
      firstVersion: some[0]?.version ?? 0,
      firstPosition: some[0]?.position ?? 0,
      lastPosition: some.at(-1)?.position ?? 0,
    });
  }
  const types = await storage.listEventTypes({ prefix: "", after: "", limit: 9 });
  expect(types, "types count removed events, too").toEqual(
    ["Early", "Late"].flatMap((type) => {
      const own = all.filter((event) => event.type === type);
      const [firstPosition = 0, lastPosition = 0] = [own[0]?.position, own.at(-1)?.position];
      const recordedCount = own.length;
      return recordedCount === 0 ? [] : [{ type, recordedCount, firstPosition, lastPosition }];
    }),
  );
}

export function isInA({ stream }: CommitEvent): boolean {
  return stream === "a";
}
