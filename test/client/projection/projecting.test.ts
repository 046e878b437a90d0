// Projections: exactly one effect of each event, progress, rebuilding, and waiting for one's own
// writes.
import { describe, expect, test } from "vitest";
import {
  defineEvents,
  runProjection,
  type Projection,
  type ProjectionStatus,
  type ReadModel,
} from "../../../src/client/sdk.ts";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import {
  client,
  model,
  type Money,
  newPrefix,
  noted,
  paid,
  pay,
  poison,
  rows,
  run,
  running,
  server,
  tables,
  type Tables,
  totals,
} from "./totals-projection.ts";

describe("a projection", () => {
  test("takes what there is, then what comes, and its writers can wait for it", async () => {
    const prefix = newPrefix();
    await pay(`${prefix}a`, 1, 2, 3);
    const one = run(totals(prefix));
    await one.waitFor(await pay(`${prefix}b`, 10));
    expect(rows()).toEqual({ [`${prefix}a`]: 6, [`${prefix}b`]: 10 });
    await one.waitFor(await pay(`${prefix}a`, 4));
    expect(rows()).toEqual({ [`${prefix}a`]: 10, [`${prefix}b`]: 10 });
    await expect.poll(() => one.status.state).toBe("live");
    expect(one.status).toMatchObject({ handledCount: 5, parkedCount: 0, error: undefined });
  });

  test("is waited for also where the last event is none of its own", async () => {
    const prefix = newPrefix();
    const one = run(totals(prefix));
    await pay(`${prefix}a`, 1);
    const { lastPosition } = await client.append("elsewhere-1", paid(5));
    await one.waitFor(lastPosition);
    expect(rows()).toEqual({ [`${prefix}a`]: 1 });
    const { lastPosition: sideValue } = await client.append(`${prefix}a`, noted);
    await one.waitFor(sideValue);
  });

  test("that does not get there in time says so, and goes on", async () => {
    const prefix = newPrefix();
    const one = run(totals(prefix));
    const head = await pay(`${prefix}a`, 1);
    await one.waitFor(head);
    await expect(one.waitFor(head + 1_000, { timeoutMs: 80 })).rejects.toMatchObject({
      code: "TIMED_OUT",
    });
    const reason = new Error("no longer wanted");
    const signal = AbortSignal.abort(reason);
    await expect(one.waitFor(head + 1_000, { signal })).rejects.toBe(reason);
    const stop = new AbortController();
    const waiting = one.waitFor(head + 1_000, { signal: stop.signal });
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await one.waitFor(await pay(`${prefix}a`, 1));
  });

  test("goes on where it was stopped, and handles nothing twice", async () => {
    const prefix = newPrefix();
    await pay(`${prefix}a`, 1, 2, 3);
    const first = run(totals(prefix));
    await first.waitFor((await client.info()).head);
    await first.stop();
    await expect(first.done).resolves.toBeUndefined();
    expect(first.status.state).toBe("stopped");
    await expect(first.waitFor(10 ** 9)).rejects.toThrow("was stopped");
    const head = await pay(`${prefix}a`, 4);
    const states: string[] = [];
    const second = run(totals(prefix), { onStatus: ({ state }) => states.push(state) });
    await second.waitFor(head);
    expect(rows()).toEqual({ [`${prefix}a`]: 10 });
    expect(second.status.handledCount).toBe(1);
    expect(states[0]).toBe("catching-up");
  });

  test("is built anew when its version says so, with progress, and what it parked forgotten", async () => {
    const prefix = newPrefix();
    const head = await pay(`${prefix}a`, ...Array.from({ length: 500 }, () => 1));
    poison.add(head);
    const first = run(totals(prefix), { onPoison: "skip" });
    await first.waitFor(head);
    await first.stop();
    expect(rows()).toEqual({ [`${prefix}a`]: 499 });
    expect(await model.parked(`totals of ${prefix}`)).toHaveLength(1);
    poison.clear();
    const told: ProjectionStatus[] = [];
    const options = { batchEventsMax: 100, onStatus: (one: ProjectionStatus) => told.push(one) };
    const second = run(totals(prefix, 2), options);
    await second.waitFor(head);
    expect(rows()).toEqual({ [`${prefix}a`]: 1_000 });
    expect(await model.parked(`totals of ${prefix}`)).toEqual([]);
    const rebuilding = told.filter(({ state }) => state === "rebuilding");
    expect(rebuilding.map(({ handledCount }) => handledCount)).toEqual([
      0, 100, 200, 300, 400, 500,
    ]);
    for (const { position, head: known } of rebuilding)
      expect(known).toBeGreaterThanOrEqual(position);
    await second.stop();
    const third = run(totals(prefix, 2), { rebuild: true });
    await third.waitFor(head);
    expect(third.status.handledCount).toBe(500);
    expect(rows()).toEqual({ [`${prefix}a`]: 1_000 });
  });

  test("takes only the types it has handlers for, where it names no query", async () => {
    const byType: Projection<Money, { tables: Tables }> = {
      name: "by type",
      version: 1,
      setup: () => {},
      when: {
        Noted: (_, tx) => tx.tables.totals.set("notes", (tx.tables.totals.get("notes") ?? 0) + 1),
      },
    };
    const odd = client.withEvents(defineEvents<{ type: "Odd" }>());
    await odd.append("odd-1", { type: "Odd" });
    await client.append("note-1", [noted, noted]);
    const before = await client.read({ query: { types: ["Noted"] } }).toArray();
    const one = run(byType);
    await one.waitFor((await client.info()).head);
    expect(one.status.handledCount).toBe(before.length);
  });

  test("asks for the old types that are brought up to date", async () => {
    const old = client.withEvents(defineEvents<{ type: "WasPaid"; data: number }>());
    const stream = `${newPrefix()}old`;
    await old.append(stream, { type: "WasPaid", data: 7 });
    const modern = client.withEvents(
      defineEvents<Money>({
        upcast: { WasPaid: ({ data }) => ({ type: "Paid", data: { cents: data } }) },
      }),
    );
    const { query: _, ...everything } = totals("x");
    const one = runProjection(modern, { ...everything, name: "modern" }, model);
    running.push(one);
    await one.waitFor((await client.info()).head);
    expect(rows()[stream]).toBe(7);
  });

  test("run twice at once has each effect once", async () => {
    const prefix = newPrefix();
    const both = [run(totals(prefix)), run(totals(prefix))];
    for (let round = 0; round < 20; round += 1) await pay(`${prefix}a`, 1, 1);
    const { head } = await client.info();
    await Promise.all(both.map((one) => one.waitFor(head, { timeoutMs: 20_000 })));
    expect(rows()).toEqual({ [`${prefix}a`]: 40 });
    const order = [...tables.order.rows()].map(([position]) => position);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  test("of another store stops, unless it is to be built anew", async () => {
    const prefix = newPrefix();
    const head = await pay(`${prefix}a`, 1);
    const next = { position: 1, storeId: "another", version: 1 };
    await model.commit(`totals of ${prefix}`, { expected: undefined, next, apply: () => {} });
    const one = run(totals(prefix));
    await expect(one.done).rejects.toMatchObject({ code: "STORE_REPLACED" });
    expect(one.status).toMatchObject({ state: "failed", error: { code: "STORE_REPLACED" } });
    const other = run(totals(prefix), { rebuild: true });
    await other.waitFor(head);
    expect(rows()).toEqual({ [`${prefix}a`]: 1 });
  });

  test("whose read model cannot be had for a while waits for it", async () => {
    const prefix = newPrefix();
    const passing = new Error("not now");
    let failures = 3;
    const moody: ReadModel<{ tables: Tables }> = {
      ...model,
      isTransient: (error) => error === passing,
      commit: async (...given) => {
        if (failures-- > 0) throw passing;
        return model.commit(...given);
      },
    };
    const states: string[] = [];
    const onStatus = ({ state }: ProjectionStatus) => states.push(state);
    const one = runProjection(client, totals(prefix), moody, { onStatus, onPoison: "skip" });
    running.push(one);
    await one.waitFor(await pay(`${prefix}a`, 5));
    expect(states.filter((state) => state === "interrupted")).toHaveLength(3);
    expect(await model.parked(`totals of ${prefix}`)).toEqual([]);
    expect(rows()).toEqual({ [`${prefix}a`]: 5 });
  });
});

describe("a projection of events that a policy has removed", () => {
  const { updateStream, deleteStream } = StreamService.method;

  test("is not built anew from what is left, and keeps what it had", async () => {
    const prefix = newPrefix();
    const head = await pay(`${prefix}a`, 100, 100, 300);
    const first = run(totals(prefix));
    await first.waitFor(head);
    await first.stop();
    const policy = { truncateBefore: 3n };
    await server.calls.unary(updateStream, { stream: `${prefix}a`, policy });
    const again = run(totals(prefix), { rebuild: true });
    const error = { code: "MISSING_EVENTS", stream: `${prefix}a` };
    await expect(again.done).rejects.toMatchObject(error);
    expect(again.status).toMatchObject({ state: "failed", error });
    expect(rows()).toEqual({ [`${prefix}a`]: 500 });
    const goesOn = run(totals(prefix));
    await goesOn.waitFor(await pay(`${prefix}a`, 1));
    expect(rows()).toEqual({ [`${prefix}a`]: 501 });
    await goesOn.stop();
    const accepting = run({ ...totals(prefix), missingEvents: "accept" }, { rebuild: true });
    await accepting.waitFor((await client.info()).head);
    expect(rows()).toEqual({ [`${prefix}a`]: 301 });
  });

  test("stops where they went while it was away", async () => {
    const prefix = newPrefix();
    const first = run(totals(prefix));
    await first.waitFor(await pay(`${prefix}a`, 1));
    await first.stop();
    await pay(`${prefix}a`, 2, 3);
    const policy = { maxCount: 1n };
    await server.calls.unary(updateStream, { stream: `${prefix}a`, policy });
    await expect(run(totals(prefix)).done).rejects.toMatchObject({ version: 2 });
    expect(rows()).toEqual({ [`${prefix}a`]: 1 });
  });

  test("takes no notice of what went with a deletion", async () => {
    const prefix = newPrefix();
    await pay(`${prefix}a`, 1);
    await server.calls.unary(deleteStream, { stream: `${prefix}a` });
    const one = run(totals(prefix));
    await one.waitFor(await pay(`${prefix}b`, 5));
    expect(rows()).toEqual({ [`${prefix}b`]: 5 });
  });
});
