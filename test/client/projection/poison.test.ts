// Events a projection fails on: stopped at, skipped, tried again, parked, and retried from the list.
import { describe, expect, test } from "vitest";
import {
  defineEvents,
  forgetParked,
  retryParked,
  runProjection,
  type JsonEvent,
  type PoisonPolicy,
  type Projection,
  type ReadModel,
} from "../../../src/client/sdk.ts";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import {
  attempts,
  client,
  model,
  newPrefix,
  pay,
  poison,
  rows,
  run,
  running,
  server,
  tables,
  totals,
  type Money,
  type Tables,
} from "./totals-projection.ts";

const { updateStream, deleteStream } = StreamService.method;

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

  test("that is a system event is tried again like any other", async () => {
    const stream = `${newPrefix()}a`;
    await pay(stream, 1);
    await server.calls.unary(updateStream, { stream, policy: { labels: { a: "b" } } });
    let isBroken = true;
    const policies: Projection<JsonEvent, { tables: Tables }> = {
      name: `policies of ${stream}`,
      version: 1,
      query: { streams: [`$lifecycle-${stream}`] },
      setup: () => {},
      when: {
        $StreamUpdated: (_, tx) => {
          if (isBroken) throw new Error("not yet");
          tx.tables.totals.set("policies", 1);
        },
      },
    };
    const untyped = client.withEvents(defineEvents<JsonEvent>());
    const one = runProjection(untyped, policies, model, { onPoison: "skip" });
    running.push(one);
    const { head } = await client.info();
    await one.waitFor(head);
    await expect(retryParked(untyped, policies, model, head)).rejects.toThrow("not yet");
    isBroken = false;
    expect(await retryParked(untyped, policies, model, head)).toBe("applied");
    expect(rows()).toEqual({ policies: 1 });
    expect(await model.parked(policies.name)).toEqual([]);
  });

  test("and that is removed since is taken off the list, and said to be", async () => {
    const prefix = newPrefix();
    const last = await tenPayments(prefix);
    const projection = totals(prefix);
    const one = run(projection, { onPoison: "skip" });
    await one.waitFor(last);
    await server.calls.unary(deleteStream, { stream: `${prefix}a` });
    expect(await retryParked(client, projection, model, last - 4)).toBe("removed");
    expect(await model.parked(projection.name)).toEqual([]);
    expect(rows()).toEqual({ [`${prefix}a`]: 9 });
  });

  test("is taken off the list without an effect, where that is asked for", async () => {
    const prefix = newPrefix();
    const last = await tenPayments(prefix);
    const projection = totals(prefix);
    const one = run(projection, { onPoison: "skip" });
    await one.waitFor(last);
    await forgetParked(projection, model, last - 4);
    expect(await model.parked(projection.name)).toEqual([]);
    expect(rows()).toEqual({ [`${prefix}a`]: 9 });
    await expect(forgetParked(projection, model, last - 4)).rejects.toMatchObject({
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
