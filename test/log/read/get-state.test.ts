// GetState: the state of a stream as JSON, at a version or a time.
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { commitEvents, newEvent } from "../../support/events.ts";
import { openLog } from "../harness.ts";
import { countTurns } from "../../support/turns.ts";

const json = (data: string) => ({ stream: "a", contentType: "application/json", data });

/** One event at each of the times 10, 20, 30, ..., with others between. */
async function openWith(sketches: object[], eventBytesMax = 1_000) {
  const opened = openLog({ limits: { eventBytesMax } });
  for (const [i, sketch] of sketches.entries()) {
    const events = [newEvent({ stream: "b" }), newEvent({ stream: "a", ...sketch })];
    await commitEvents(opened.storage, events, (i + 1) * 10);
  }
  return opened;
}

const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;

describe("getState", () => {
  test("of a stream without events is null at version 0", async () => {
    const { log } = await openWith([]);
    expect(await log.getState({ stream: "a" })).toEqual({
      state: null,
      stateJson: "null",
      version: 0,
      position: 0,
      recordedAt: 0,
      appliedCount: 0,
      skippedCount: 0,
      missingThrough: 0,
    });
  });

  test("folds JSON events in order and counts what it passes over", async () => {
    const { log } = await openWith([
      json('{"name":"Ann","tags":["x"],"address":{"city":"Ulm","zip":"1"}}'),
      { data: "not JSON by its type" },
      json("{ broken"),
      { ...json('{"tags":null,"address":{"zip":null}}'), contentType: "application/x.y+json" },
      { contentType: "application/json", data: Uint8Array.of(0x22, 0xff, 0x22) },
    ]);
    expect(await log.getState({ stream: "a" })).toEqual({
      state: { name: "Ann", address: { city: "Ulm" } },
      stateJson: '{"name":"Ann","address":{"city":"Ulm"}}',
      version: 5,
      position: 10,
      recordedAt: 50,
      appliedCount: 2,
      skippedCount: 3,
      missingThrough: 0,
    });
  });

  test("looks at a large event, parses it and goes on in steps of their own", async () => {
    const text = JSON.stringify(Array.from({ length: 9_000 }, (_, i) => i));
    const { log } = await openWith([json(text)], 1_000_000);
    const costs: number[] = [];
    const gate = {
      owner: {},
      waitingCount: 0,
      enter: (bytes: number) => void costs.push(bytes),
      leave: () => {},
    };
    await log.getState({ stream: "a" }, undefined, gate);
    expect(costs.filter((bytes) => bytes > 9_000 * 16)).toHaveLength(3);
  });

  test("goes back to a version or a time, inclusive", async () => {
    const { log } = await openWith([json('{"n":1}'), json('{"n":2}'), json('{"n":3}')]);
    const stateAt = async (at: Parameters<typeof log.getState>[0]["at"]) => {
      const { state, version } = await log.getState({ stream: "a", at });
      return [state, version];
    };
    expect(await stateAt({ kind: "version", version: 2 })).toEqual([{ n: 2 }, 2]);
    expect(await stateAt({ kind: "version", version: 9 })).toEqual([{ n: 3 }, 3]);
    expect(await stateAt({ kind: "time", time: 20 })).toEqual([{ n: 2 }, 2]);
    expect(await stateAt({ kind: "time", time: 29 })).toEqual([{ n: 2 }, 2]);
    expect(await stateAt({ kind: "time", time: 9 })).toEqual([null, 0]);
  });

  test("keys that objects inherit are data", async () => {
    const { log } = await openWith([
      json('{"__proto__":{"polluted":true}}'),
      json('{"constructor":{"x":1}}'),
    ]);
    const { state } = await log.getState({ stream: "a" });
    expect(JSON.stringify(state)).toBe('{"__proto__":{"polluted":true},"constructor":{"x":1}}');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test("of a state that outgrows an answer says so; a steady one does not", async () => {
    const text = "x".repeat(150);
    const grows = Array.from({ length: 20 }, (_, i) => json(`{"k${i}":"${text}"}`));
    const { log } = await openWith(grows);
    await expect(log.getState({ stream: "a" })).rejects.toMatchObject({
      failure: { reason: "ANSWER_TOO_LARGE", bytesMax: 1_000 },
    });
    const changes = Array.from({ length: 50 }, (_, i) => json(`{"k${i % 2}":"${text}"}`));
    const { log: steady } = await openWith(changes);
    expect(await steady.getState({ stream: "a" })).toMatchObject({ appliedCount: 50 });
  });

  test("keeps no state far beyond what it may answer, even if it would shrink again", async () => {
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
    const grows = keys.map((key) => json(JSON.stringify({ [key]: "x".repeat(150) })));
    const { log } = await openWith([...grows, json("null")]);
    await expect(log.getState({ stream: "a" })).rejects.toMatchObject({
      failure: { reason: "ANSWER_TOO_LARGE" },
    });
  });

  test("of JSON nested without end says so", async () => {
    const { log } = await openWith([json(nested(500))], 1e6);
    expect(await log.getState({ stream: "a" })).toMatchObject({ appliedCount: 1 });
    const { log: deeper } = await openWith([json(nested(100_000))], 1e6);
    await expect(deeper.getState({ stream: "a" })).rejects.toMatchObject({
      failure: { reason: "ANSWER_TOO_LARGE" },
    });
  });

  test("judges depth and size before it parses, and skips what is no JSON", async () => {
    const parse = vi.spyOn(JSON, "parse");
    onTestFinished(() => parse.mockRestore());
    for (const text of [nested(400_000), `[${"1,".repeat(100_000)}1]`]) {
      const { log } = await openWith([json(text)], 4e6);
      parse.mockClear();
      await expect(log.getState({ stream: "a" })).rejects.toMatchObject({
        failure: { reason: "ANSWER_TOO_LARGE" },
      });
      expect(parse).not.toHaveBeenCalled();
    }
    const unpaired = ["[".repeat(1_000_000), `${"[".repeat(600)}]`, "]", '"', '{"a":"}'];
    const { log } = await openWith(unpaired.map(json), 4e6);
    parse.mockClear();
    expect(await log.getState({ stream: "a" })).toMatchObject({ skippedCount: 5, appliedCount: 0 });
    expect(parse).not.toHaveBeenCalled();
  });

  test("of many members, each patch small, ends where it has too many", async () => {
    const numbers = Array.from({ length: 4_000 }, (_, number) => number);
    const patches = Array.from({ length: 60 }, (_, patch) => {
      const members = numbers.map((number) => `"k${patch}-${number}":1`);
      return json(`{${members.join(",")}}`);
    });
    const { log } = await openWith(patches, 9e6);
    await expect(log.getState({ stream: "a" })).rejects.toThrow("more than 10000 values");
  });

  test("ends with CANCELLED when its signal aborts", async () => {
    const { log, storage } = await openWith([json("1")]);
    const controller = new AbortController();
    storage.control.beforeBatch = () => controller.abort();
    await expect(log.getState({ stream: "a" }, controller.signal)).rejects.toMatchObject({
      failure: { reason: "CANCELLED" },
    });
  });

  test("lets others have the thread between its looks at a long text, and can be cancelled", async () => {
    const text = JSON.stringify({ text: "x".repeat(600_000), number: 0 }).replace(":0}", ":1e400}");
    const { log } = await openWith([json(text)], 1_000_000);
    const turn = countTurns();
    expect((await log.getState({ stream: "a" })).version).toBe(1);
    expect(turn()).toBeGreaterThan(3);
    const cancelling = new AbortController();
    setImmediate(() => setImmediate(() => cancelling.abort()));
    const cancelled = log.getState({ stream: "a" }, cancelling.signal);
    await expect(cancelled).rejects.toMatchObject({ reason: "CANCELLED" });
  });
});
