// The names of many conditions are looked up in many turns of the event loop, also where no look-up
// leaves the thread.
import { expect, onTestFinished, test, vi } from "vitest";
import { anyEvent } from "../../../../src/domain/query.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { TermTable } from "../../../../src/storage/leveldb/state/term-table.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";
import { countTurns } from "../../../support/turns.ts";

test("64 conditions of 64 tags each look up some 500 names in a turn", async () => {
  const turn = countTurns();
  const storage = await openStorageOver({ openKv: async () => openMemoryKv() });
  await commitEvents(storage, [newEvent({ tags: ["last"] })]);
  const conditions = Array.from({ length: 64 }, (_, i) => {
    const tags = Array.from({ length: 63 }, (__, j) => `${i}-${j}`);
    return {
      query: { items: [{ ...anyEvent, tags: i === 63 ? ["last"] : [...tags, "last"] }] },
      after: 0,
    };
  });
  const asked = new Map<number, number>();
  const { value: get } = Object.getOwnPropertyDescriptor(TermTable.prototype, "get") ?? {};
  const looked = vi.spyOn(TermTable.prototype, "get").mockImplementation(function (
    this: TermTable,
    ...term
  ) {
    asked.set(turn(), (asked.get(turn()) ?? 0) + 1);
    return (get as typeof TermTable.prototype.get).apply(this, term);
  });
  onTestFinished(() => looked.mockRestore());
  const { matches } = await storage.facts({ streams: [], ids: [], conditions });
  expect(matches).toEqual([...Array.from({ length: 63 }, () => 0), 1]);
  const counts = [...asked.values()];
  expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(63 * 63);
  // Each is looked for up to three times.
  expect(Math.max(...counts)).toBeLessThan(3 * 600);
  await storage.close();
});
