// Projections: exactly one effect of each event, progress, poison, rebuilding, reading one's
// writes.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  connect,
  defineEvents,
  memoryReadModel,
  MemoryTable,
  retryParked,
  runProjection,
  type AnnalsClient,
  type PoisonPolicy,
  type Projection,
  type ProjectionStatus,
  type ReadModel,
  type RunningProjection,
  type RunOptions,
} from "../../../src/client/sdk.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

type Money =
  | { readonly type: "Paid"; readonly data: { readonly cents: number } }
  | { readonly type: "Noted"; readonly data: { readonly text: string } };

const paid = (cents: number) => ({ type: "Paid", data: { cents } }) as const;
const noted = { type: "Noted", data: { text: "x" } } as const;

class Tables {
  readonly totals = new MemoryTable<string, number>();
  readonly order = new MemoryTable<number, number>();
  begin(): void {
    this.totals.begin();
    this.order.begin();
  }
  end(keep: boolean): void {
    this.totals.end(keep);
    this.order.end(keep);
  }
}

let server: TestServer;
let client: AnnalsClient<Money>;
let tables: Tables;
let model: ReadModel<{ tables: Tables }>;
/** Positions whose handler throws. */
let poison: Set<number>;
let attempts: number;
const running: RunningProjection[] = [];

beforeAll(async () => {
  server = await startTestServer();
});
beforeEach(() => {
  tables = new Tables();
  model = memoryReadModel({ tables });
  poison = new Set();
  attempts = 0;
  client = connect({ address: server.address, events: defineEvents<Money>() });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
  client.close();
});
afterAll(() => server.stop());

/** Totals by stream, of streams that begin with the prefix. */
function totals(prefix: string, version = 1): Projection<Money, { tables: Tables }> {
  return {
    name: `totals of ${prefix}`,
    version,
    query: { streamPrefixes: [prefix] },
    setup: (tx) => {
      tx.tables.totals.clear();
      tx.tables.order.clear();
    },
    when: {
      Paid: ({ stream, position, data }, tx) => {
        tx.tables.order.set(position, tx.tables.order.size + 1);
        tx.tables.totals.set(stream, (tx.tables.totals.get(stream) ?? 0) + data.cents * version);
        if (!poison.has(position)) return;
        attempts += 1;
        throw new Error(`the handler fails at ${position}`);
      },
    },
  };
}

function run(projection: Projection<Money, { tables: Tables }>, options: RunOptions = {}) {
  const one = runProjection(client, projection, model, options);
  running.push(one);
  return one;
}

const rows = () => Object.fromEntries(tables.totals.rows());
let prefixes = 0;
const newPrefix = () => `p${++prefixes}-`;

/** Appends so many payments, one by one, and answers the last position. */
async function pay(stream: string, ...cents: number[]): Promise<number> {
  return (await client.append(stream, cents.map(paid))).lastPosition;
}

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

describe("an event the projection fails on", () => {
  async function tenPayments(prefix: string): Promise<number> {
    const last = await pay(`${prefix}a`, ...Array.from({ length: 10 }, () => 1));
    poison.add(last - 4);
    return last;
  }

  test("stops it in front of the event, with all before it done", async () => {
    const prefix = newPrefix();
    const last = await tenPayments(prefix);
    const one = run(totals(prefix));
    await expect(one.done).rejects.toMatchObject({
      code: "POISON_EVENT",
      position: last - 4,
      type: "Paid",
      cause: expect.objectContaining({ message: `the handler fails at ${last - 4}` }),
    });
    await expect(one.waitFor(last)).rejects.toMatchObject({ code: "POISON_EVENT" });
    expect(rows()).toEqual({ [`${prefix}a`]: 5 });
    expect(await model.checkpoint(`totals of ${prefix}`)).toMatchObject({ position: last - 5 });
    poison.clear();
    const mended = run(totals(prefix));
    await mended.waitFor(last);
    expect(rows()).toEqual({ [`${prefix}a`]: 10 });
  });

  test.each<[PoisonPolicy, number, string]>([
    ["skip", 2, "skipped"],
    [{ retries: 2, delayMs: 1, finally: "park" }, 4, "parked"],
  ])("is recorded and passed over: %j", async (onPoison, tries, outcome) => {
    const prefix = newPrefix();
    const last = await tenPayments(prefix);
    const one = run(totals(prefix), { onPoison });
    await one.waitFor(last);
    expect(rows()).toEqual({ [`${prefix}a`]: 9 });
    expect(one.status).toMatchObject({ handledCount: 9, parkedCount: 1, position: last });
    // Once among the others, once alone, and then as often as it is tried again.
    expect(attempts).toBe(tries);
    const [parked] = await model.parked(`totals of ${prefix}`);
    expect(parked).toMatchObject({
      position: last - 4,
      stream: `${prefix}a`,
      type: "Paid",
      outcome,
    });
    expect(parked?.error).toContain(`the handler fails at ${last - 4}`);
  });

  test("may succeed when it is tried again", async () => {
    const prefix = newPrefix();
    const last = await tenPayments(prefix);
    const onStatus = () => {
      if (attempts >= 2) poison.clear();
    };
    const one = run(totals(prefix), {
      onPoison: { retries: 50, delayMs: 1, finally: "stop" },
      onStatus,
    });
    const mend = setInterval(onStatus, 1);
    await one.waitFor(last);
    clearInterval(mend);
    expect(rows()).toEqual({ [`${prefix}a`]: 10 });
    expect(await model.parked(`totals of ${prefix}`)).toEqual([]);
  });

  test("stops it after its retries, where that is wanted", async () => {
    const prefix = newPrefix();
    await tenPayments(prefix);
    const one = run(totals(prefix), { onPoison: { retries: 1, delayMs: 1, finally: "stop" } });
    await expect(one.done).rejects.toMatchObject({ code: "POISON_EVENT" });
  });

  test("is tried again from the list, while the projection runs", async () => {
    const prefix = newPrefix();
    const last = await tenPayments(prefix);
    const projection = totals(prefix);
    const one = run(projection, { onPoison: "skip" });
    await one.waitFor(last);
    await expect(retryParked(client, projection, model, last - 4)).rejects.toThrow("fails at");
    expect(await model.parked(projection.name)).toHaveLength(1);
    poison.clear();
    const paying = Promise.all([1, 2, 3].map(() => pay(`${prefix}b`, 1)));
    await retryParked(client, projection, model, last - 4);
    expect(await model.parked(projection.name)).toEqual([]);
    expect(rows()).toMatchObject({ [`${prefix}a`]: 10 });
    await one.waitFor(Math.max(...(await paying)));
    expect(rows()).toMatchObject({ [`${prefix}a`]: 10, [`${prefix}b`]: 3 });
    await expect(retryParked(client, projection, model, last - 4)).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("is one among too many: the projection is at fault, and stops", async () => {
    const prefix = newPrefix();
    const last = await pay(`${prefix}a`, 1, 1, 1, 1, 1);
    for (let position = last - 4; position <= last; position += 1) poison.add(position);
    const one = run(totals(prefix), { onPoison: "skip", parkedMax: 3 });
    await expect(one.done).rejects.toMatchObject({ code: "POISON_EVENT", position: last - 1 });
    expect(await model.parked(`totals of ${prefix}`)).toHaveLength(3);
  });

  test("because nobody understands it is poison too", async () => {
    const prefix = newPrefix();
    const odd = client.withEvents(defineEvents<{ type: "Paid"; data: string }>());
    await pay(`${prefix}a`, 1);
    const { lastPosition } = await odd.append(`${prefix}a`, { type: "Paid", data: "much" });
    const strict = defineEvents<Money>({
      parse: {
        Paid: (data) => {
          const { cents } = data as { cents?: unknown };
          if (typeof cents !== "number") throw new TypeError("cents is no number");
          return { cents };
        },
        Noted: (data) => data as { text: string },
      },
    });
    const one = runProjection(client.withEvents(strict), totals(prefix), model, {
      onPoison: "skip",
    });
    running.push(one);
    await one.waitFor(lastPosition);
    expect(rows()).toEqual({ [`${prefix}a`]: 1 });
    const [parked] = await model.parked(`totals of ${prefix}`);
    expect(parked?.error).toContain("cents is no number");
  });

  test("is found also where only the commit fails, without a culprit", async () => {
    const prefix = newPrefix();
    const last = await pay(`${prefix}a`, ...Array.from({ length: 13 }, () => 1));
    // As a deferred constraint would.
    const deferred: ReadModel<{ tables: Tables }> = {
      ...model,
      commit: (name, step) =>
        model.commit(name, {
          ...step,
          apply: (tx) => {
            void step.apply(tx);
            if (tables.order.has(last - 6)) throw new Error("the constraint");
          },
        }),
    };
    const one = runProjection(client, totals(prefix), deferred, { onPoison: "skip" });
    running.push(one);
    await one.waitFor(last);
    expect(rows()).toEqual({ [`${prefix}a`]: 12 });
    const parked = await model.parked(`totals of ${prefix}`);
    expect(parked.map(({ position }) => position)).toEqual([last - 6]);
  });
});
