// The plain model passes the suite it is the oracle of.
import { expect, test } from "vitest";
import { storageSuite } from "./contract/contract.ts";
import {
  commitEvents,
  composeCommit,
  newEvent,
  placeEvents,
  recordsOf,
} from "../support/events.ts";
import { createModelStorage } from "../support/model-storage.ts";

storageSuite("the plain model", async (clock) => {
  const timed = clock === undefined ? {} : { clock };
  let storage = createModelStorage({ batchScanMax: 7, ...timed });
  const { data } = storage;
  const reopen = async () => {
    await storage.close();
    return (storage = createModelStorage({ data, ...timed }));
  };
  return { storage, reopen, close: () => storage.close() };
});

test("a commit of the model that fails is there after recovery, or is not, as told", async () => {
  for (const outcome of ["there", "not there"] as const) {
    const storage = createModelStorage();
    const states: string[] = [];
    storage.watch({
      advanced: () => states.push("advanced"),
      writeStateChanged: (s) => states.push(s),
    });
    storage.control.failNextCommit(outcome, "held");
    await expect(commitEvents(storage, [newEvent()])).rejects.toMatchObject({
      reason: "OUTCOME_UNKNOWN",
    });
    expect(storage.head().position).toBe(0);
    await expect(commitEvents(storage, [newEvent()])).rejects.toMatchObject({
      reason: "RECOVERING",
    });
    storage.control.recover();
    const there = outcome === "there";
    expect(states).toEqual(["recovering", ...(there ? ["advanced"] : []), "accepting"]);
    expect(storage.head().position).toBe(there ? 1 : 0);
    expect((await commitEvents(storage, [newEvent()])).result).toBe("committed");
  }
});

test("a stale commit of the model may find what another node appended", async () => {
  const storage = createModelStorage();
  const foreign = newEvent({ stream: "a", data: "foreign" });
  storage.control.staleNextCommit((head) => ({
    after: head,
    recordedAt: head.recordedAt + 1,
    events: placeEvents([foreign], head, new Map(), head.recordedAt + 1),
  }));
  expect((await commitEvents(storage, [newEvent({ stream: "a" })])).result).toBe("stale");
  expect((await commitEvents(storage, [newEvent({ stream: "a" })])).result).toBe("committed");
  expect(await recordsOf(storage)).toHaveLength(2);
});

test("a commit of the model waits where it is told to", async () => {
  const storage = createModelStorage();
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  storage.control.afterCommit = () => gate;
  const running = storage.commit(await composeCommit(storage, [newEvent()]));
  await Promise.resolve();
  expect(storage.head().position).toBe(0);
  release();
  expect(await running).toBe("committed");
  expect(storage.head().position).toBe(1);
});
