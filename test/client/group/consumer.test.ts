// Members of groups by the SDK: typed deliveries, what is said of them, and members that outlive
// their server.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { connect, defineEvents, LostDeliveryError } from "../../../src/client/sdk.ts";
import { startServer, temporaryFolder } from "../../cli/running-server.ts";
import { collect } from "../../support/calls.ts";
import {
  afterwards,
  client,
  fresh,
  groupOver,
  lagOf,
  membership,
  useClient,
} from "./group-client.ts";

useClient();

describe("a worker", () => {
  test("gets deliveries in order by key, and hears when its word is durable", async () => {
    const name = fresh();
    await groupOver(name, "aab");
    const seen: [stream: string, data: unknown, attempt: number][] = [];
    for await (const { event, attempt, ack } of client.group(name, { member: "me" })) {
      seen.push([event.stream, event.data, attempt]);
      await ack();
      expect(await lagOf(name)).toBe(3 - seen.length);
      if (seen.length === 3) break;
    }
    expect(seen.toSorted(([, a], [, b]) => Number(a) - Number(b))).toEqual([
      [`${name}-a`, 1, 1],
      [`${name}-a`, 2, 1],
      [`${name}-b`, 3, 1],
    ]);
    expect((await client.groups.get(name))?.memberCount).toBe(0);
  });

  test("says that an event failed, or puts it aside; the first word counts", async () => {
    const name = fresh();
    await groupOver(name, "ab", { retryDelayMs: 1, attemptsMax: 2 });
    const next = membership(name);
    const [first, second] = [await next(), await next()];
    await second.park("not now");
    await second.ack();
    await first.nack({ reason: "\u{1F600}".repeat(1_000) });
    const again = await next();
    expect([again.event.data, again.attempt]).toEqual([1, 2]);
    await again.nack({ reason: "poison", delayMs: 5 });
    const parked = await collect(client.groups.parked(name));
    expect(parked).toMatchObject([
      { reason: "poison", attempts: 2, event: { data: 1 } },
      { reason: "not now", attempts: 1, event: { data: 2 } },
    ]);
    expect(await client.groups.discard(name, { positions: [] })).toBe(0);
    const [one] = parked.map(({ position }) => position);
    expect(await client.groups.replay(name, { positions: [one ?? 0] })).toBe(1);
    expect((await next()).event.data).toBe(1);
    expect(await client.groups.discard(name)).toBe(1);
    expect(await collect(client.groups.parked(name))).toEqual([]);
  });

  test("holds no more than its permits, and settles a burst together", async () => {
    const name = fresh();
    await groupOver(name, "abcdef");
    const next = membership(name, { permits: 4 });
    const four = [await next(), await next(), await next(), await next()];
    expect((await client.groups.get(name))?.inFlightCount).toBe(4);
    await Promise.all(four.map(({ ack }) => ack()));
    const two = [await next(), await next()];
    await Promise.all(two.map(({ ack }) => ack()));
    expect(await lagOf(name)).toBe(0);
  });

  test("whose lease ran out is told, by its signal and by the answer", async () => {
    const name = fresh();
    await groupOver(name, "a");
    const delivery = await membership(name, { permits: 1 })();
    delivery.extend(100);
    expect((await membership(name)()).attempt).toBe(2);
    const told = new Promise((resolve) => delivery.signal.addEventListener("abort", resolve));
    await expect(delivery.ack()).rejects.toThrow(LostDeliveryError);
    await told;
    expect(delivery.signal.reason).toBeInstanceOf(LostDeliveryError);
  });

  test("that leaves its loop hands on at once what it did not settle", async () => {
    const name = fresh();
    await groupOver(name, "ab", { leaseMs: 3_600_000 });
    for await (const { event, ack } of client.group(name)) {
      if (event.data === 1) void ack();
      else break;
    }
    const { event, attempt } = await membership(name)();
    expect([event.data, attempt]).toEqual([2, 2]);
  });

  test("that leaves its loop spends no attempt on what it was not handed", async () => {
    const name = fresh();
    await groupOver(name, "abc", { attemptsMax: 1 });
    for await (const { ack } of client.group(name, { permits: 3 })) {
      await ack();
      break;
    }
    const next = membership(name);
    expect([(await next()).attempt, (await next()).attempt]).toEqual([1, 1]);
    expect((await client.groups.get(name))?.parkedCount).toBe(0);
  });

  test("is ended by its signal, with the signal's reason", async () => {
    const name = fresh();
    await groupOver(name, "a");
    const stop = new AbortController();
    const working = (async () => {
      for await (const { event } of client.group(name, { signal: stop.signal })) {
        stop.abort(new Error(`enough at ${String(event.data)}`));
      }
    })();
    await expect(working).rejects.toThrow("enough at 1");
    await expect(membership(name, { signal: stop.signal })()).rejects.toThrow("enough");
  });

  test("of a group that is not there, or goes, fails; so does one that asks too much", async () => {
    const missing = membership("nobody");
    await expect(missing()).rejects.toMatchObject({ code: "NOT_FOUND" });
    const name = fresh();
    await groupOver(name, "");
    const idle = membership(name)().catch((error: unknown) => error);
    const greedy = membership(name, { permits: 10_001 });
    await expect(greedy()).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      violations: [{ field: "join.permits" }],
    });
    expect(await client.groups.delete(name)).toBe(true);
    expect(await client.groups.delete(name)).toBe(false);
    expect(await idle).toMatchObject({ code: "NOT_FOUND" });
  });

  test("is not handed what its codec does not understand; that is parked in the end", async () => {
    const name = fresh();
    await groupOver(name, "ab", { attemptsMax: 1 });
    const events = defineEvents<{ type: string; data: number }>({
      upcast: {
        [name]: (old) => {
          if (old.data === 1) throw new TypeError("one is not known");
          return { type: "known", data: old.data };
        },
      },
    });
    const malformed: number[] = [];
    const onMalformed = ({ position }: { position: number }) => malformed.push(position);
    for await (const { event, ack } of client.withEvents(events).group(name, { onMalformed })) {
      expect([event.type, event.data]).toEqual(["known", 2]);
      await ack();
      break;
    }
    expect(malformed).toHaveLength(1);
    const [parked] = await collect(client.withEvents(events).groups.parked(name));
    expect(parked?.reason).toContain("one is not known");
    expect(() => parked?.event).toThrow("one is not known");
  });
});

describe("work", () => {
  test("acknowledges what returns, refuses what throws, and ends in order", async () => {
    const name = fresh();
    await groupOver(name, "abcabc", { retryDelayMs: 1, attemptsMax: 2 });
    const stop = new AbortController();
    const done: number[] = [];
    const working = client
      .group(name, { permits: 2, signal: stop.signal })
      .work(async ({ data }, { park, attempt }) => {
        if (data === 2) await park("aside");
        if (data === 3) throw new Error(`failed ${attempt}`);
        done.push(Number(data));
      });
    const { position } = (await client.read({ query: { types: [name] } }).toArray()).at(-1) ?? {};
    await client.waitFor({ group: name }, position ?? 0);
    stop.abort();
    await working;
    expect(done.toSorted((a, b) => a - b)).toEqual([1, 2, 4, 5, 6]);
    const parked = await collect(client.groups.parked(name));
    expect(parked.map(({ reason }) => reason)).toEqual(["aside", "failed 2"]);
  });

  test("that is stopped finishes what it has begun, and takes nothing more", async () => {
    const name = fresh();
    await groupOver(name, "abc", { leaseMs: 3_600_000 });
    const stop = new AbortController();
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => (finish = resolve));
    let begun = 0;
    const working = client.group(name, { permits: 1, signal: stop.signal }).work(() => {
      begun += 1;
      stop.abort();
      return finished;
    });
    const other = membership(name, { permits: 2 });
    await other();
    finish();
    await working;
    expect(begun).toBe(1);
    expect(await lagOf(name)).toBe(2);
  });

  test("fails with what the membership fails with", async () => {
    const working = client.group("nobody").work(() => {});
    await expect(working).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

test("workers through the kill of their server deal with everything, in order", async () => {
  const killed = await startServer(join(temporaryFolder(), "data"));
  afterwards(() => killed.kill());
  const retry = { attemptsMax: 1_000, delayMaxMs: 100 };
  const patient = connect({ address: killed.address, retry, timeoutMs: 60_000 });
  afterwards(() => patient.close());
  const [streams, perStream] = [8, 25];
  for (let i = 0; i < perStream; i += 1) {
    const events = Array.from({ length: streams }, (_, s) => ({ type: "T", stream: `s-${s}` }));
    await patient.append(events);
  }
  await patient.groups.create("g");
  const stop = new AbortController();
  afterwards(() => stop.abort());
  const handled = new Map<string, number[]>();
  let [interruptions, count, kills] = [0, 0, 0];
  let goal = { at: 0, reached: (): void => {} };
  const working = [3, 7].map((permits) =>
    patient
      .group("g", { permits, signal: stop.signal, onInterruption: () => (interruptions += 1) })
      .work(({ stream, version }) => {
        const versions = handled.get(stream) ?? [];
        handled.set(stream, versions);
        // It may come twice, but never before its turn.
        if (!versions.includes(version)) versions.push(version);
        count += 1;
        if (count >= goal.at) goal.reached();
      }),
  );
  for (const at of [30, 90]) {
    await new Promise<void>((reached) => {
      goal = { at, reached };
      if (count >= at) reached();
    });
    await killed.kill();
    await killed.start();
    kills += 1;
  }
  await patient.waitFor({ group: "g" }, streams * perStream);
  stop.abort();
  await Promise.all(working);
  expect([kills, interruptions >= 2]).toEqual([2, true]);
  const inOrder = Array.from({ length: perStream }, (_, index) => index + 1);
  expect([...handled.values()]).toEqual(Array.from({ length: streams }, () => inOrder));
});
