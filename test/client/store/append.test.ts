// Appends by the SDK, against the real server: rules, ids, names, and what failures look like.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ConflictError,
  connect,
  defineEvents,
  EventIdConflictError,
  InvalidArgumentError,
  isStoreError,
  newEventId,
  NotFoundError,
  type AnnalsClient,
  type StoreError,
} from "../../../src/client/sdk.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

type Account =
  | { readonly type: "Opened"; readonly data: { readonly owner: string } }
  | { readonly type: "Paid"; readonly data: { readonly cents: number } };

let server: TestServer;
let client: AnnalsClient<Account>;
beforeAll(async () => {
  server = await startTestServer();
  client = connect({ address: server.address, events: defineEvents<Account>() });
});
afterAll(async () => {
  client.close();
  await server.stop();
});

const opened = { type: "Opened", data: { owner: "Ann" } } as const;
const paid = (cents: number) => ({ type: "Paid", data: { cents } }) as const;

async function failureOf(work: Promise<unknown>): Promise<StoreError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isStoreError(error)) throw new Error(`no StoreError: ${String(error)}`);
  return error;
}

describe("an append", () => {
  test("says where its events are, and what was stored reads back the same", async () => {
    const metadata = { user: "u1" };
    const first = await client.append("a-1", [opened, { ...paid(5), tags: ["t"], metadata }]);
    expect(first).toMatchObject({
      version: 2,
      streams: [{ stream: "a-1", firstVersion: 1, lastVersion: 2 }],
      deduplicated: false,
    });
    expect(first.lastPosition).toBe(first.firstPosition + 1);
    const events = await client.read({ stream: "a-1" }).toArray();
    expect(events).toEqual(first.events);
    expect(events[1]).toMatchObject({ ...paid(5), tags: ["t"], metadata, version: 2 });
    expect(events.map(({ id }) => id)).toEqual(first.eventIds);
  });

  test("of one event needs no list", async () => {
    expect(await client.append("a-2", opened, { expect: "absent" })).toMatchObject({ version: 1 });
    expect(await client.append("a-2", paid(1), { expect: 1 })).toMatchObject({ version: 2 });
    expect(await client.append("a-2", paid(1), { expect: "exists" })).toMatchObject({ version: 3 });
    expect(await client.append("a-2", paid(1), { expect: "any" })).toMatchObject({ version: 4 });
  });

  test("spans streams: all of it or nothing", async () => {
    const expectations = [
      { stream: "b-1", expect: 0 },
      { stream: "b-2", expect: "absent" },
    ] as const;
    const both = [
      { ...paid(-3), stream: "b-1" },
      { ...paid(3), stream: "b-2" },
    ];
    const appended = await client.append(both, { expectations });
    expect(appended.streams.map(({ stream }) => stream)).toEqual(["b-1", "b-2"]);
    expect(appended.events.map(({ stream, version }) => `${stream}@${version}`)).toEqual([
      "b-1@1",
      "b-2@1",
    ]);
    const conflict = await failureOf(client.append(both, { expectations }));
    expect(conflict).toBeInstanceOf(ConflictError);
    expect(conflict).toMatchObject({
      code: "CONFLICT",
      mayHaveBeenStored: false,
      streams: [
        { stream: "b-1", expected: 0, actualVersion: 1 },
        { stream: "b-2", expected: "absent", actualVersion: 1 },
      ],
      conditions: [],
      omittedCount: 0,
    });
    expect(await client.stream("b-1")).toMatchObject({ version: 1, eventCount: 1 });
  });

  test("under a condition is refused by an event that matches after it", async () => {
    const query = { tags: ["mail:ann@example.com"] };
    const claim = () => client.append("c-1", { ...opened, ...query }, { condition: { query } });
    const { lastPosition } = await claim();
    const conflict = await failureOf(claim());
    expect(conflict).toMatchObject({ conditions: [{ position: lastPosition, after: 0 }] });
    const later = { query, after: lastPosition };
    await client.append("c-1", opened, { condition: later });
  });

  test("that comes again with its ids is answered with the places it has", async () => {
    const event = { ...paid(7), id: newEventId().toUpperCase() };
    const first = await client.append("d-1", event, { expect: 0 });
    const again = await client.append("d-1", event, { expect: 0 });
    expect(again).toMatchObject({ deduplicated: true, firstPosition: first.firstPosition });
    expect(again.events).toEqual(first.events);
    const other = await failureOf(client.append("d-1", { ...paid(8), id: event.id }));
    expect(other).toBeInstanceOf(EventIdConflictError);
    expect(other).toMatchObject({
      events: [{ id: event.id.toLowerCase(), position: 5 + 2, problem: "other-content" }].map(
        (mismatch) => ({ ...mismatch, position: first.firstPosition }),
      ),
    });
  });
});

describe("what is wrong is named", () => {
  const bad = "\uD800";
  test.each<[string, () => Promise<unknown>, string]>([
    ["a stream", () => client.append(`a${bad}`, opened), "stream"],
    ["an event's stream", () => client.append([{ ...opened, stream: bad }]), "events[0].stream"],
    ["a tag", () => client.append("s", { ...opened, tags: ["x", bad] }), "events[0].tags[1]"],
    [
      "a value",
      () => client.append("s", { ...opened, metadata: { k: bad } }),
      "events[0].metadata.k",
    ],
    [
      "a key",
      () => client.append("s", { ...opened, metadata: { [bad]: "v" } }),
      "events[0].metadata",
    ],
    [
      "a query",
      () => client.append("s", opened, { condition: { query: { tags: [bad] } } }),
      "conditions[0].query.items[0].tags[0]",
    ],
    ["a read's stream", () => client.read({ stream: bad }).toArray(), "stream"],
    ["a snapshot's kind", () => client.snapshots.get("s", { kind: bad }), "kind"],
  ])("%s with half a character", async (_, work, field) => {
    const error = await failureOf(work());
    expect(error).toBeInstanceOf(InvalidArgumentError);
    expect(error).toMatchObject({ violations: [{ field }] });
  });

  test.each<[string, () => Promise<unknown>, string]>([
    ["by the server", () => client.append("$s", opened), "stream"],
    ["no events", () => client.append("s", []), "events"],
    ["a version", () => client.append("s", opened, { expect: 1.5 }), "expect"],
    [
      "an expectation of no stream",
      () => client.append([{ ...opened, stream: "s" }], { expect: 1 }),
      "expect",
    ],
    [
      "a position below zero",
      () => client.append("s", opened, { condition: { query: {}, after: -1 } }),
      "condition.after",
    ],
    ["an empty query", () => client.read({ query: [] }).toArray(), "query"],
    [
      "an empty part of one",
      () => client.read({ query: { types: [] } }).toArray(),
      "query.items[0].types",
    ],
    ["no JSON", () => client.append("s", paid(Number.NaN)), "events[0]"],
    ["a wrong date", () => client.read({ from: new Date("?") }).toArray(), "from"],
  ])("%s", async (_, work, field) => {
    expect(await failureOf(work())).toMatchObject({
      code: "INVALID_ARGUMENT",
      violations: [{ field }],
    });
  });

  test("a stream and a query at once", async () => {
    const both = { stream: "s", query: {} } as unknown as { stream: string };
    expect(await failureOf(client.read(both).toArray())).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

describe("what is not there", () => {
  test("is undefined where that is an answer", async () => {
    expect(await client.stream("nowhere")).toBeUndefined();
    expect(await client.snapshots.get("nowhere")).toBeUndefined();
    expect(await client.read({ stream: "nowhere" }).toArray()).toEqual([]);
  });

  test("is an error where it is none", async () => {
    const error = await failureOf(
      client.snapshots.save({ stream: "nowhere", version: 1, state: new Uint8Array(1) }),
    );
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", reason: "SNAPSHOT_BEYOND_STREAM" });
    expect(error).not.toBeInstanceOf(NotFoundError);
    const beyond = client.append("s", opened, { condition: { query: {}, after: 10 ** 9 } });
    expect(await failureOf(beyond)).toMatchObject({ code: "BEYOND_HEAD" });
  });
});

describe("listings", () => {
  test("go through every page", async () => {
    const names = Array.from(
      { length: 1_203 },
      (_, index) => `page-${String(index).padStart(4, "0")}`,
    );
    for (let from = 0; from < names.length; from += 401) {
      await client.append(names.slice(from, from + 401).map((stream) => ({ ...opened, stream })));
    }
    const listed: string[] = [];
    for await (const { stream } of client.streams({ prefix: "page-" })) listed.push(stream);
    expect(listed).toEqual(names);
    const types: string[] = [];
    for await (const { type, recordedCount } of client.eventTypes()) {
      types.push(type);
      expect(recordedCount).toBeGreaterThan(0);
    }
    expect(types).toEqual(["Opened", "Paid"]);
  });

  test("of snapshots, newest first, and deleted by kind", async () => {
    await client.append("snap-1", [opened, paid(1), paid(2)]);
    const state = Buffer.from("{}");
    for (const version of [1, 3, 2]) {
      const contentType = "application/json";
      await client.snapshots.save({ stream: "snap-1", kind: "k", version, state, contentType });
    }
    const versions: number[] = [];
    for await (const { version } of client.snapshots.list("snap-1")) versions.push(version);
    expect(versions).toEqual([3, 2, 1]);
    const found = await client.snapshots.get("snap-1", { kind: "k", maxVersion: 2 });
    expect(found).toMatchObject({ version: 2, state, contentType: "application/json" });
    expect(await client.snapshots.delete("snap-1", { kind: "k", maxVersion: 2 })).toBe(2);
    expect(await client.snapshots.get("snap-1", { kind: "k" })).toMatchObject({ version: 3 });
  });
});

test("a client that is closed, or has nobody to talk to, says so within its time", async () => {
  const nobody = connect({ address: "127.0.0.1:1", timeoutMs: 300, events: client.events });
  expect(await failureOf(nobody.append("s", opened))).toMatchObject({
    code: "UNAVAILABLE",
    reason: "UNREACHABLE",
  });
  await expect(nobody.ready(50)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  nobody.close();
});
