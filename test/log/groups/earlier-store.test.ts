// The side values of groups as 0.1 stored them, one of them with a query that was changed while it
// ran: the groups go on from there, and lose nothing. The fixture was written by that code.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { SideValueChange } from "../../../src/storage/storage.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import { appendAll, openLog, settled, type Opened } from "../harness.ts";
import { Worker } from "./worker.ts";

interface EarlierStore {
  /** Each `stream|type`. */
  readonly events: readonly string[];
  /** Microseconds since 1970. */
  readonly now: number;
  readonly values: readonly (readonly [SideValueChange["space"], string, string])[];
  readonly infos: Readonly<Record<string, object>>;
}

const file = new URL("../../fixtures/groups-0.1.json", import.meta.url);
const { store } = JSON.parse(readFileSync(file, "utf8")) as { store: EarlierStore };

async function opened(): Promise<Opened> {
  const storage = createModelStorage();
  let now = store.now;
  const before = openLog({ storage, clock: () => now++ });
  for (const line of store.events) {
    const [stream = "", type = ""] = line.split("|");
    await appendAll(before.log, { stream, type });
  }
  storage.data.sideValues = store.values.map(([space, name, value]) => {
    return { space, name, value: Buffer.from(value, "hex") };
  });
  const { data } = createModelStorage({ data: storage.data });
  return openLog({ storage: createModelStorage({ data }), clock: () => now++ });
}

describe("a group of 0.1", () => {
  test.each(Object.entries(store.infos))("%s is where it was", async (name, info) => {
    const { log } = await opened();
    expect(await log.groups.get(name)).toMatchObject(info);
  });

  test("goes on with what is not settled, failures, replays and parked events included", async () => {
    const { log, timers } = await opened();
    const worker = await Worker.join(log, "steady", 100);
    const early = await worker.news();
    expect(early).toEqual(expect.arrayContaining(["9", "10", "47"]));
    for (const done of ["1", "2", "3", "4", "5", "6", "7", "8"]) expect(early).not.toContain(done);
    worker.ack();
    // Event 1 failed, and was to wait for an hour; 2 is of its key.
    await timers.pass(3_600_000);
    expect(await worker.news()).toContain("1 #2");
    worker.ack();
    expect(await worker.news()).toEqual(["2"]);
    worker.ack();
    await settled();
    worker.ack();
    await settled();
    expect(await log.groups.get("steady")).toMatchObject({ position: 51, parkedCount: 1 });
  });

  test("whose query was changed delivers what its last query selects, once more at most", async () => {
    const { log } = await opened();
    const worker = await Worker.join(log, "edited", 100);
    expect((await worker.news()).toSorted()).toEqual(["48", "49", "50", "51"]);
    worker.ack();
    await settled();
    expect(await log.groups.get("edited")).toMatchObject({ position: 51, lagEvents: 0 });
    // Parked under the first query.
    expect(await log.groups.replayParked("edited", [])).toBe(1);
    expect(await worker.news()).toEqual(["10"]);
  });
});
