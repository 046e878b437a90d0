// Streams of which a policy has removed events: no state is folded, decided on and saved as if what
// is left were all there was.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  boundary,
  connect,
  defineEvents,
  MissingEventsError,
  repository,
  type AnnalsClient,
  type Decider,
  type SnapshotOptions,
} from "../../../src/client/sdk.ts";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

interface Added {
  readonly type: "Added";
  readonly data: { readonly by: number };
}

const counter: Decider<{ readonly total: number }, number, Added> = {
  initial: () => ({ total: 0 }),
  decide: (by, { total }) => {
    if (total + by < 0) throw new Error(`${total} is all there is`);
    return { type: "Added", data: { by }, tags: ["account"] };
  },
  evolve: ({ total }, { data }) => ({ total: total + data.by }),
};

let server: TestServer;
let client: AnnalsClient<Added>;
let streams = 0;

beforeAll(async () => {
  server = await startTestServer();
  client = connect({ address: server.address, events: defineEvents<Added>() });
});
afterAll(async () => {
  client.close();
  await server.stop();
});

const m = StreamService.method;
const truncate = (stream: string, before: number) =>
  server.calls.unary(m.updateStream, { stream, policy: { truncateBefore: BigInt(before) } });

/** Five hundred in five events, a snapshot at the third, and nothing left before the fourth. */
async function truncatedBehindSnapshot(): Promise<string> {
  const stream = `counter-${++streams}`;
  const counters = repository(client, counter, { snapshots: { everyEvents: 3, schemaVersion: 1 } });
  for (let i = 0; i < 5; i += 1) await counters.handle(stream, 100);
  await counters.settled();
  await truncate(stream, 4);
  return stream;
}

const snapshots = (more: Partial<SnapshotOptions<{ total: number }>> = {}) => ({
  snapshots: { everyEvents: 1, schemaVersion: 1, ...more },
});
const missing = (stream: string) => ({ code: "MISSING_EVENTS", stream, version: 3 });

describe("of a stream truncated behind a snapshot", () => {
  test("the state is whole as long as the snapshot can be used", async () => {
    const stream = await truncatedBehindSnapshot();
    const { state } = await repository(client, counter, snapshots()).load(stream);
    expect(state).toEqual({ total: 500 });
  });

  const undecodable = {
    contentType: "application/json",
    encode: (state: object) => Buffer.from(JSON.stringify(state)),
    decode: () => {
      throw new Error("of an older version");
    },
  };
  test.each([
    ["is of another schema version", snapshots({ schemaVersion: 2 })],
    ["cannot be decoded", snapshots({ codec: undecodable })],
    ["is not asked for", {}],
  ])("nothing is decided on where the snapshot %s", async (_, options) => {
    const stream = await truncatedBehindSnapshot();
    const counters = repository(client, counter, options);
    await expect(counters.load(stream)).rejects.toMatchObject(missing(stream));
    await expect(counters.handle(stream, 1)).rejects.toBeInstanceOf(MissingEventsError);
    await counters.settled();
    expect(await client.stream(stream)).toMatchObject({ version: 5 });
    for await (const { version } of client.snapshots.list(stream)) expect(version).toBe(3);
  });

  test("nothing is decided on where the snapshot was deleted", async () => {
    const stream = await truncatedBehindSnapshot();
    await client.snapshots.delete(stream);
    const counters = repository(client, counter, snapshots());
    await expect(counters.handle(stream, 1)).rejects.toMatchObject(missing(stream));
    expect(await client.snapshots.get(stream, { kind: "state/1" })).toBeUndefined();
  });

  test("a fold that says it can bear it gets what is left", async () => {
    const stream = await truncatedBehindSnapshot();
    const counters = repository(client, counter, { missingEvents: "accept" });
    expect(await counters.load(stream)).toMatchObject({
      state: { total: 200 },
      version: 5,
      missingThrough: 3,
    });
    expect(await counters.handle(stream, 1)).toMatchObject({ state: { total: 201 } });
  });

  test("a fold that fails on what is left is told why, and not of its own error alone", async () => {
    const stream = await truncatedBehindSnapshot();
    const own = new Error("there is no such account");
    const strict = repository(client, {
      ...counter,
      evolve: () => {
        throw own;
      },
    });
    await expect(strict.load(stream)).rejects.toMatchObject({ ...missing(stream), cause: own });
    const whole = `counter-${++streams}`;
    await client.append(whole, { type: "Added", data: { by: 1 } });
    await expect(strict.load(whole)).rejects.toBe(own);
  });
});

describe("a stream that was deleted and came back", () => {
  test("begins anew: nothing of it is missing", async () => {
    const stream = `counter-${++streams}`;
    const counters = repository(client, counter);
    await counters.handle(stream, 100);
    await server.calls.unary(m.deleteStream, { stream });
    expect(await counters.load(stream)).toMatchObject({ state: { total: 0 }, version: 1 });
    expect(await counters.handle(stream, 7)).toMatchObject({ state: { total: 7 }, version: 2 });
  });
});

describe("a boundary", () => {
  const query = (tag: string) => ({ tags: [tag] });
  const tagged = (tag: string): Decider<{ readonly total: number }, number, Added> => ({
    ...counter,
    decide: (by) => ({ type: "Added", data: { by }, tags: [tag] }),
  });

  test("decides nothing where a policy has removed what the query would find", async () => {
    const [tag, stream] = ["truncated", `counter-${++streams}`];
    const totals = boundary(client, tagged(tag));
    for (let i = 0; i < 3; i += 1) await totals.handle(query(tag), 100, { stream });
    await truncate(stream, 3);
    const { head } = await client.info();
    await expect(totals.handle(query(tag), 1, { stream })).rejects.toMatchObject({
      code: "MISSING_EVENTS",
      stream,
    });
    expect(await client.info()).toMatchObject({ head });
    const lenient = boundary(client, tagged(tag), { missingEvents: "accept" });
    expect(await lenient.handle(query(tag), 1, { stream })).toMatchObject({
      state: { total: 101 },
    });
  });

  test("passes over what went with a deletion, and goes on", async () => {
    const tag = "deleted";
    const totals = boundary(client, tagged(tag));
    const kept = `counter-${++streams}`;
    const gone = `counter-${++streams}`;
    await totals.handle(query(tag), 100, { stream: gone });
    await totals.handle(query(tag), 10, { stream: kept });
    await server.calls.unary(m.deleteStream, { stream: gone });
    for (let i = 1; i < 4; i += 1) {
      const handled = await totals.handle(query(tag), 1, { stream: kept });
      expect(handled.state).toEqual({ total: 10 + i });
    }
    // Brought back, and then truncated: what is missing now is not the deletion's.
    await totals.handle(query(tag), 5, { stream: gone });
    await totals.handle(query(tag), 5, { stream: gone });
    await truncate(gone, 3);
    await expect(totals.handle(query(tag), 1, { stream: kept })).rejects.toMatchObject({
      code: "MISSING_EVENTS",
      stream: gone,
      version: 2,
    });
  });
});

describe("a read", () => {
  test("gives what is left, or refuses where it is asked to", async () => {
    const stream = await truncatedBehindSnapshot();
    expect(await client.read({ stream }).toArray()).toHaveLength(2);
    const whole = client.read({ stream, missingEvents: "refuse" });
    await expect(whole.toArray()).rejects.toMatchObject({ code: "MISSING_EVENTS", version: 1 });
    await expect(client.assertComplete({ stream })).rejects.toBeInstanceOf(MissingEventsError);
    const { lastPosition } = (await client.stream(stream)) ?? { lastPosition: 0 };
    await expect(client.assertComplete({ stream, after: lastPosition })).resolves.toBeUndefined();
    const cut = client.read({ stream, missingEvents: "refuse", limit: 1 });
    await expect(cut.toArray()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
