// Everything a store can be asked, as named questions with short answers. Two stores that answer
// all of them alike have the same content. An answer is CORRUPTION if the store reports it.
import { createHash, type Hash } from "node:crypto";
import { AnnalsError } from "../../src/domain/errors.ts";
import { categoryOf } from "../../src/domain/event.ts";
import type { Selection } from "../../src/domain/query.ts";
import { storedEvent } from "../../src/domain/record.ts";
import type { Range, Storage } from "../../src/storage/storage.ts";
import { selectQuery, selectStream } from "../storage/contract/checks.ts";
import { recordsOf } from "./events.ts";
import { snapshotsOf } from "./snapshots.ts";

/** What the questions are about: names and ids that exist, and some that do not. */
export interface Topics {
  readonly streams: readonly string[];
  readonly types: readonly string[];
  readonly tags: readonly string[];
  readonly ids: readonly string[];
  readonly times: readonly number[];
}

export type Answers = ReadonlyMap<string, string>;

/** The topics of an intact store: everything that occurs in it. */
export async function topicsOf(storage: Storage): Promise<Topics> {
  const streams = new Set(["", "nobody-1"]);
  const types = new Set(["NeverHappened"]);
  const tags = new Set(["never:1"]);
  const ids = new Set(["ffffffff-ffff-4fff-bfff-ffffffffffff"]);
  const times = new Set([0]);
  for (const record of await recordsOf(storage)) {
    const event = storedEvent(record);
    streams.add(event.stream);
    types.add(event.type);
    ids.add(event.id);
    times.add(event.recordedAt).add(event.recordedAt + 1);
    for (const tag of event.tags) tags.add(tag);
  }
  return {
    streams: [...streams],
    types: [...types],
    tags: [...tags],
    ids: [...ids],
    times: [...times].slice(0, 12),
  };
}

/** The answers to every question about the topics. Throws any failure other than CORRUPTION. */
export async function askEverything(storage: Storage, topics: Topics): Promise<Answers> {
  const answers = new Map<string, string>();
  const head = storage.head();
  answers.set("identity", digest(storage.identity));
  answers.set("head", digest(head));
  for (const [question, ask] of questions(storage, topics, head.position)) {
    answers.set(question, await answer(ask));
  }
  return answers;
}

/** Where answers differ from the expected ones, apart from CORRUPTION. Empty: nowhere. */
export function differences(expected: Answers, actual: Answers): string[] {
  const parted: string[] = [];
  for (const [question, answered] of expected) {
    const found = actual.get(question) ?? "not asked";
    if (found === answered || found === "CORRUPTION") continue;
    parted.push(`${question}: ${found} for ${answered}`);
  }
  return parted;
}

type Question = readonly [question: string, ask: () => Promise<unknown>];

function* questions(storage: Storage, topics: Topics, head: number): Generator<Question> {
  const everything = { first: 1, last: head };
  const half = { first: Math.ceil(head / 3), last: Math.ceil((head * 2) / 3) };
  yield* readBothWays(storage, "all", { kind: "all" }, everything);
  yield* readBothWays(storage, "all, the middle", { kind: "all" }, half);
  for (const stream of topics.streams) {
    yield* readBothWays(storage, `stream ${stream}`, selectStream(stream), everything);
    yield [`facts of ${stream}`, () => storage.stream(stream)];
    yield [`snapshots of ${stream}`, () => snapshotsOf(storage, stream)];
    const prefix = categoryOf(stream);
    if (prefix === "") continue;
    const selection = selectQuery({ streamPrefixes: [prefix] });
    yield* readBothWays(storage, `prefix ${prefix} (${stream})`, selection, everything);
  }
  for (const type of topics.types) {
    yield* readBothWays(storage, `type ${type}`, selectQuery({ types: [type] }), everything);
  }
  for (const tag of topics.tags) {
    yield* readBothWays(storage, `tag ${tag}`, selectQuery({ tags: [tag] }), everything);
  }
  for (const time of topics.times) yield [`position at ${time}`, () => storage.positionAt(time)];
  const page = { prefix: "", after: "", limit: 1_000 };
  yield ["streams", () => storage.listStreams(page)];
  yield ["system streams", () => storage.listStreams({ ...page, prefix: "$" })];
  yield ["removed ones too", () => recordsOf(storage, { withRemoved: true })];
  yield ["event types", () => storage.listEventTypes(page)];
  yield ["ids", () => eventsById(storage, topics.ids)];
  yield ["versions", () => versionsOf(storage, topics.streams)];
  for (const after of [0, half.first, half.last]) {
    yield [`matches after ${after}`, () => matchesAfter(storage, topics, after)];
  }
}

function* readBothWays(
  storage: Storage,
  name: string,
  selection: Selection,
  positions: Range,
): Generator<Question> {
  for (const direction of ["forwards", "backwards"] as const) {
    const read = { selection, direction, positions };
    yield [`${name}, ${direction}`, () => recordsOf(storage, read)];
  }
}

async function eventsById(storage: Storage, ids: readonly string[]): Promise<unknown> {
  const { events } = await storage.facts({ streams: [], ids, conditions: [] });
  return ids.map((id) => events.get(id) ?? null);
}

async function versionsOf(storage: Storage, streams: readonly string[]): Promise<unknown> {
  const { versions } = await storage.facts({ streams, ids: [], conditions: [] });
  return [...versions];
}

async function matchesAfter(storage: Storage, topics: Topics, after: number): Promise<unknown> {
  const items = [
    ...topics.types.map((type) => selectQuery({ types: [type] })),
    ...topics.tags.map((tag) => selectQuery({ tags: [tag] })),
    ...topics.streams.map((stream) => selectQuery({ streams: [stream] })),
  ];
  const conditions = items.flatMap((selection) =>
    selection.kind === "query" ? [{ query: selection.query, after }] : [],
  );
  return (await storage.facts({ streams: [], ids: [], conditions })).matches;
}

async function answer(ask: () => Promise<unknown>): Promise<string> {
  try {
    return digest(await ask());
  } catch (error) {
    if (error instanceof AnnalsError && error.reason === "CORRUPTION") return error.reason;
    throw error;
  }
}

/** Equal for equal values: bytes, numbers, texts, and lists and records of them. */
function digest(value: unknown): string {
  const hash = createHash("sha256");
  feed(hash, value);
  return hash.digest("hex").slice(0, 16);
}

function feed(hash: Hash, value: unknown): void {
  if (value instanceof Uint8Array) hash.update(`bytes ${value.length} `).update(value);
  else if (Array.isArray(value)) {
    hash.update(`list ${value.length} `);
    for (const each of value) feed(hash, each);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, each] of Object.entries(value)) {
      hash.update(`${key}=`);
      feed(hash, each);
    }
  } else hash.update(`${typeof value} ${String(value)} `);
}
