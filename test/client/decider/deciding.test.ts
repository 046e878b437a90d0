// Deciders over streams and over queries: who wins, who decides again, and what snapshots change.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  boundary,
  ConflictError,
  connect,
  defineEvents,
  repository,
  retryOnConflict,
  type AnnalsClient,
  type Decider,
} from "../../../src/client/sdk.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

type Counter =
  | { readonly type: "Added"; readonly data: { readonly by: number } }
  | { readonly type: "Claimed"; readonly data: { readonly name: string } };

interface State {
  readonly total: number;
  readonly names: readonly string[];
}

class RefusedError extends Error {}

const events = defineEvents<Counter>({
  tags: (event) => (event.type === "Claimed" ? [`name:${event.data.name}`] : []),
});

/** Adds; refuses to go below zero. Nothing happens where there is nothing to add. */
const counter: Decider<State, number, Counter> = {
  initial: () => ({ total: 0, names: [] }),
  decide: (by, { total }) => {
    if (total + by < 0) throw new RefusedError(`${total} is all there is`);
    return by === 0 ? [] : { type: "Added", data: { by } };
  },
  evolve: (state, event) =>
    event.type === "Added" ? { ...state, total: state.total + event.data.by } : state,
};

const claim: Decider<readonly string[], string, Counter> = {
  initial: () => [],
  decide: (name, taken) => {
    if (taken.includes(name)) throw new RefusedError(`${name} is taken`);
    return { type: "Claimed", data: { name } };
  },
  evolve: (taken, event) => (event.type === "Claimed" ? [...taken, event.data.name] : taken),
};

let server: TestServer;
let client: AnnalsClient<Counter>;
const others: AnnalsClient<Counter>[] = [];
let streams = 0;
const newStream = () => `counter-${++streams}`;

beforeAll(async () => {
  server = await startTestServer();
  client = connect({ address: server.address, events });
});
afterEach(() => {
  for (const other of others.splice(0)) other.close();
});
afterAll(async () => {
  client.close();
  await server.stop();
});

/** Clients of their own, as other processes would have them. */
function otherClients(count: number): AnnalsClient<Counter>[] {
  const made = Array.from({ length: count }, () => connect({ address: server.address, events }));
  others.push(...made);
  return made;
}

describe("a repository", () => {
  test("loads, decides, appends, and answers what happened and what that makes", async () => {
    const stream = newStream();
    const counters = repository(client, counter);
    expect(await counters.load(stream)).toMatchObject({ state: { total: 0 }, version: 0 });
    const first = await counters.handle(stream, 5, { metadata: { user: "u" } });
    expect(first).toMatchObject({ version: 1, state: { total: 5 }, attempts: 1 });
    expect(first.events).toMatchObject([
      { type: "Added", data: { by: 5 }, stream, version: 1, metadata: { user: "u" } },
    ]);
    const second = await counters.handle(stream, -2);
    expect(second).toMatchObject({ version: 2, state: { total: 3 } });
    expect(second.position).toBeGreaterThan(first.position);
    expect(await counters.load(stream, { version: 1 })).toMatchObject({ state: { total: 5 } });
  });

  test("appends nothing where nothing is decided, and still says how far it has looked", async () => {
    const stream = newStream();
    const counters = repository(client, counter);
    const { position } = await counters.handle(stream, 1);
    const nothing = await counters.handle(stream, 0);
    expect(nothing).toMatchObject({ events: [], version: 1, state: { total: 1 } });
    expect(nothing.position).toBeGreaterThanOrEqual(position);
  });

  test("lets a refusal through as it is, and stores nothing", async () => {
    const stream = newStream();
    const counters = repository(client, counter);
    await expect(counters.handle(stream, -1)).rejects.toThrow(RefusedError);
    expect(await client.stream(stream)).toBeUndefined();
  });

  test("refuses events for another stream: there is no version to check them by", async () => {
    const astray = { ...counter, decide: () => ({ ...added(1), stream: "elsewhere" }) };
    const handling = repository(client, astray).handle(newStream(), 1);
    await expect(handling).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("commands of one process on one aggregate take turns, and never conflict", async () => {
    const stream = newStream();
    const counters = repository(client, counter);
    const handled = await Promise.all(Array.from({ length: 50 }, () => counters.handle(stream, 1)));
    expect(new Set(handled.map(({ attempts }) => attempts))).toEqual(new Set([1]));
    expect(handled.map(({ version }) => version)).toEqual(
      Array.from({ length: 50 }, (_, index) => index + 1),
    );
  });

  test("a command that fails, or is given up while it waits, holds up nobody", async () => {
    const stream = newStream();
    const counters = repository(client, counter);
    const refused = counters.handle(stream, -1);
    const reason = new Error("no longer wanted");
    const signal = AbortSignal.abort(reason);
    const givenUp = counters.handle(stream, 100, { signal });
    const last = counters.handle(stream, 7);
    const outcomes = await Promise.allSettled([refused, givenUp, last]);
    expect(outcomes).toMatchObject([
      { reason: expect.any(RefusedError) },
      { reason },
      { value: { state: { total: 7 } } },
    ]);
  });

  test("commands of many processes on one aggregate all succeed, each decided on the truth", async () => {
    const stream = newStream();
    const repositories = otherClients(12).map((other) => repository(other, counter));
    const handled = await Promise.all(
      repositories.flatMap((counters) => [counters.handle(stream, 1), counters.handle(stream, 2)]),
    );
    expect(Math.max(...handled.map(({ attempts }) => attempts))).toBeGreaterThan(1);
    for (const { state, version, events: happened } of handled) {
      const { state: at } = await repository(client, counter).load(stream, { version });
      expect(state).toEqual(at);
      expect(happened).toHaveLength(1);
    }
    expect(await repository(client, counter).load(stream)).toMatchObject({
      state: { total: 36 },
      version: 24,
    });
  });

  test("gives up after as many conflicts as it may", async () => {
    const stream = newStream();
    const hindered: Decider<State, number, Counter> = { ...counter };
    let decisions = 0;
    const counters = repository(
      {
        ...client,
        // Somebody else is always faster.
        async append(...given: Parameters<typeof client.append>) {
          decisions += 1;
          await client.append(stream, added(1));
          return client.append(...given);
        },
      } as AnnalsClient<Counter>,
      hindered,
      { attemptsMax: 3 },
    );
    await expect(counters.handle(stream, 1)).rejects.toThrow(ConflictError);
    expect(decisions).toBe(3);
  });
});

const added = (by: number) => ({ type: "Added", data: { by } }) as const;

describe("snapshots of a repository", () => {
  const options = { everyEvents: 10, schemaVersion: 1 };

  test("are saved every so many events, behind the command, and used by the next load", async () => {
    const stream = newStream();
    const counters = repository(client, counter, { snapshots: options });
    for (let index = 0; index < 25; index += 1) {
      await counters.handle(stream, 1);
      await counters.settled();
    }
    const versions: number[] = [];
    for await (const { version, kind } of client.snapshots.list(stream)) {
      expect(kind).toBe("state/1");
      versions.push(version);
    }
    expect(versions).toEqual([20, 10]);
    expect(await counters.load(stream)).toEqual({
      state: { total: 25, names: [] },
      version: 25,
      head: expect.any(Number),
      after: expect.any(Number),
      epoch: (await client.info()).epoch,
      missingThrough: 0,
      snapshotVersion: 20,
    });
    expect(await counters.load(stream, { version: 12 })).toMatchObject({
      state: { total: 12 },
      snapshotVersion: 10,
    });
  });

  test("of another schema version are passed over", async () => {
    const stream = newStream();
    await client.append(stream, [added(1), added(2)]);
    const state = Buffer.from('{"sum":"of another form"}');
    await client.snapshots.save({ stream, kind: "state/1", version: 2, state });
    const counters = repository(client, counter, { snapshots: { ...options, schemaVersion: 2 } });
    expect(await counters.load(stream)).toMatchObject({ state: { total: 3 }, snapshotVersion: 0 });
  });

  test("that are not understood cost a second look, and are told", async () => {
    const stream = newStream();
    await client.append(stream, [added(1), added(2)]);
    await client.snapshots.save({ stream, kind: "state/1", version: 1, state: Buffer.from("{") });
    const told: unknown[] = [];
    const onError = (error: unknown, of: string) => told.push([(error as Error).name, of]);
    const counters = repository(client, counter, { snapshots: { ...options, onError } });
    expect(await counters.load(stream)).toMatchObject({ state: { total: 3 }, version: 2 });
    expect(told).toEqual([["SyntaxError", stream]]);
  });

  test("that cannot be saved never fail the command", async () => {
    const stream = newStream();
    const told: string[] = [];
    const dated: Decider<{ at: Date }, number, Counter> = {
      initial: () => ({ at: new Date(0) }),
      decide: added,
      evolve: (_, { recordedAt }) => ({ at: recordedAt }),
    };
    const counters = repository(client, dated, {
      snapshots: { ...options, everyEvents: 1, onError: (error) => told.push(String(error)) },
    });
    expect(await counters.handle(stream, 1)).toMatchObject({ version: 1 });
    await counters.settled();
    expect(told).toEqual([expect.stringContaining("not the same after JSON")]);
    expect(await client.snapshots.get(stream, { kind: "state/1" })).toBeUndefined();
  });

  test("take a codec for what JSON cannot carry", async () => {
    const stream = newStream();
    const mapped: Decider<ReadonlyMap<string, number>, number, Counter> = {
      initial: () => new Map(),
      decide: added,
      evolve: (sums, { type }) => new Map(sums).set(type, (sums.get(type) ?? 0) + 1),
    };
    const codec = {
      contentType: "application/json",
      encode: (sums: ReadonlyMap<string, number>) => Buffer.from(JSON.stringify([...sums])),
      decode: (bytes: Uint8Array) =>
        new Map(JSON.parse(Buffer.from(bytes).toString()) as [string, number][]),
    };
    const snapshots = { ...options, everyEvents: 2, codec };
    const counters = repository(client, mapped, { snapshots });
    for (const by of [1, 2, 3]) await counters.handle(stream, by);
    await counters.settled();
    expect(await counters.load(stream)).toMatchObject({
      state: new Map([["Added", 3]]),
      snapshotVersion: 2,
    });
  });
});

describe("a boundary", () => {
  test("decides over a query, whatever the streams", async () => {
    const claims = boundary(client, claim);
    const query = { tags: ["name:ann"] };
    const first = await claims.handle(query, "ann", { stream: "person-1" });
    expect(first).toMatchObject({ attempts: 1, state: ["ann"], version: 1 });
    expect(first.events).toMatchObject([{ stream: "person-1", tags: ["name:ann"] }]);
    const again = claims.handle(query, "ann", { stream: "person-2" });
    await expect(again).rejects.toThrow(RefusedError);
    // An event may have no stream.
    const nowhere = await claims.handle({ tags: ["name:ben"] }, "ben");
    expect(nowhere.events).toMatchObject([{ stream: "", version: 0 }]);
  });

  test("of many processes that want the same, exactly one gets it", async () => {
    const query = { tags: ["name:cleo"] };
    const outcomes = await Promise.allSettled(
      otherClients(12).map((other, index) =>
        boundary(other, claim).handle(query, "cleo", { stream: `cleo-${index}` }),
      ),
    );
    const won = outcomes.filter(({ status }) => status === "fulfilled");
    expect(won).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(RefusedError);
    }
    expect(await client.read({ query }).toArray()).toHaveLength(1);
  });

  test("what was added to the query in between is decided on again", async () => {
    const seen: number[] = [];
    let hinder = true;
    const adding: Decider<number, number, Counter> = {
      initial: () => 0,
      decide: (by, total) => {
        seen.push(total);
        return { type: "Added", data: { by }, tags: ["sum"] };
      },
      evolve: (total, event) => (event.type === "Added" ? total + event.data.by : total),
    };
    const slow = {
      ...client,
      async append(...given: Parameters<typeof client.append>) {
        if (hinder) await client.append("sum-1", { ...added(10), tags: ["sum"] });
        hinder = false;
        return client.append(...given);
      },
    } as AnnalsClient<Counter>;
    const sums = boundary(slow, adding);
    const handled = await sums.handle({ tags: ["sum"] }, 1, { stream: "sum-2" });
    expect(seen).toEqual([0, 10]);
    expect(handled).toMatchObject({ attempts: 2, state: 11 });
  });
});

describe("appends over several streams", () => {
  test("decide again together, so that nothing is lost between two accounts", async () => {
    const [one, two] = [newStream(), newStream()];
    await client.append(one, added(100));
    await client.append(two, added(100));
    const move = (mover: AnnalsClient<Counter>, cents: number) => {
      const counters = repository(mover, counter);
      return retryOnConflict(async () => {
        const [from, to] = await Promise.all([counters.load(one), counters.load(two)]);
        if (from.state.total < cents) throw new RefusedError("not enough");
        const both = [
          { ...added(-cents), stream: one },
          { ...added(cents), stream: two },
        ];
        const expectations = [
          { stream: one, expect: from.version },
          { stream: two, expect: to.version },
        ];
        return mover.append(both, { expectations });
      });
    };
    const outcomes = await Promise.allSettled(otherClients(8).map((mover) => move(mover, 30)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    const counters = repository(client, counter);
    expect((await counters.load(one)).state.total).toBe(10);
    expect((await counters.load(two)).state.total).toBe(190);
  });
});
