// A failure between any two steps of reclaiming does no harm: no answer changes, and what was left
// undone is done later.
import { describe, expect, test } from "vitest";
import { decodeRecord } from "../../../../src/domain/record.ts";
import { generatedContract } from "../../contract/generated.ts";
import { commitEvents, newEvents, recordsOf } from "../../../support/events.ts";
import { handTimers } from "../../../support/hand-timers.ts";
import { keptTime } from "../../../support/kept-time.ts";
import { setPolicy } from "../../../support/lifecycles.ts";
import { differences, topicsOf } from "../../../support/questions.ts";
import { reclaimAll } from "../../../support/reclaiming.ts";
import { faultyKv } from "../kv/faulty-kv.ts";
import { answersOf, fill, findingsIn, open, secret } from "./reclaim-store.ts";

describe("a write that fails while space is reclaimed", () => {
  for (const how of ["fails, there", "fails, not there"] as const) {
    for (const at of [0, 1, 2]) {
      test(`batch ${at} ${how}: nothing is lost, and the rest follows`, async () => {
        const faulty = faultyKv();
        const timers = handTimers();
        const { storage, reclaimer } = await open(() => faulty.openKv(), { delay: timers.delay });
        for (let i = 0; i < 4; i++) {
          const events = newEvents(60, () => ({ stream: "gone", data: secret.repeat(200) }));
          await commitEvents(storage, events);
        }
        await fill(storage, 4);
        await setPolicy(storage, "gone", { truncateBefore: 240 });
        const topics = await topicsOf(storage);
        const before = await answersOf(storage, topics);
        await reclaimer.round();
        for (let i = 0; i < at; i++) faulty.writes.push("works");
        faulty.writes.push(how);
        await expect(reclaimer.round()).rejects.toMatchObject({ reason: "OUTCOME_UNKNOWN" });
        while (storage.writeState() !== "accepting") {
          if (!timers.next()) await new Promise((resolve) => setImmediate(resolve));
        }
        expect(differences(before, await answersOf(storage, topics))).toEqual([]);
        expect(await findingsIn(await faulty.openKv(), storage)).toEqual([]);
        await reclaimAll(reclaimer);
        expect(differences(before, await answersOf(storage, topics))).toEqual([]);
        const kv = await faulty.openKv();
        expect(await findingsIn(kv, storage)).toEqual([]);
        const removedRecords = (await recordsOf(storage, { withRemoved: true })).filter(
          (record) => decodeRecord(record).removed !== undefined,
        );
        expect(removedRecords).toHaveLength(239);
        await storage.close();
      });
    }
  }
});

describe("generated histories in which every other reclaiming fails", () => {
  generatedContract(async (clock = () => 0) => {
    const faulty = faultyKv();
    const timers = handTimers();
    const timed = { clock, delay: timers.delay, timeKeeper: keptTime() };
    const openIt = () => open(() => faulty.openKv(), timed);
    let opened = await openIt();
    let turn = 0;
    return {
      storage: opened.storage,
      async reopen() {
        await opened.storage.close();
        opened = await openIt();
        return opened.storage;
      },
      async reclaim() {
        const { storage, reclaimer } = opened;
        const how = (["works", "fails, there", "fails, not there"] as const)[turn++ % 3];
        await reclaimer.round();
        faulty.writes.push(how ?? "works");
        await reclaimer.round().catch((error: unknown) => {
          if ((error as { reason?: unknown }).reason !== "OUTCOME_UNKNOWN") throw error;
        });
        faulty.writes.length = 0;
        while (storage.writeState() !== "accepting") {
          if (!timers.next()) await new Promise((resolve) => setImmediate(resolve));
        }
      },
      async findings() {
        return findingsIn(await faulty.openKv(), opened.storage);
      },
      close: () => opened.storage.close(),
    };
  }, 60);
});
