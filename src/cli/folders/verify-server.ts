// Checks a server from outside, by its answers. Everything is read once, including removed events
// and system events, so that every position up to the head must appear exactly once. Versions and
// times must have no gap, and the listings must agree with what was read. Event types count removed
// events too, so that they can always be compared. If streams have lifecycles, events may be
// removed during the check, and the listing of streams proves less.

import { View, type RecordedEvent } from "../../gen/annals/v1/event_pb.js";
import { counted } from "../output/display.ts";
import { CommandError } from "../arguments/options.ts";
import type { Session } from "../connection/session.ts";

/** The part of a session that is needed here. */
type Asked = Pick<Session, "store" | "once" | "streaming">;

export interface ServerReport {
  readonly storeId: string;
  /** Everything up to this position was checked. */
  readonly head: number;
  /** Existing events, without system events. */
  readonly events: number;
  readonly removedEvents: number;
  readonly systemEvents: number;
  readonly streams: number;
  readonly types: number;
  /** Empty if the server is sound. */
  readonly findings: readonly string[];
}

const pageSize = 1_000;
const findingsMax = 1_000;
/** The types in one item of a query. */
const typesMax = 64;

interface Seen {
  count: number;
  readonly first: number;
  last: number;
}

/** `progress` gets the last position that was read, and the head. */
export async function verifyServer(
  session: Asked,
  progress: (position: number, head: number) => void,
): Promise<ServerReport> {
  const { storeId, head: durable } = await session.store.getInfo({}, session.once);
  const head = Number(durable);
  const systemTypes: string[] = [];
  for await (const { name } of typePages(session, "$")) systemTypes.push(name);
  const reading = new Reading();
  for await (const event of everythingUpTo(session, head, systemTypes)) {
    reading.take(event);
    if (reading.position % 1_000 === 0) progress(reading.position, head);
  }
  reading.end(head);
  progress(reading.position, head);
  const streams = await compareStreams(session, "", reading, head);
  const types = await compareTypes(session, "", reading, head);
  await compareStreams(session, "$", reading, head);
  await compareTypes(session, "$", reading, head);
  const { events, removedEvents, systemEvents, findings } = reading;
  return { storeId, head, events, removedEvents, systemEvents, streams, types, findings };
}

/** The events of a read of everything, merged in order with the system events. */
async function* everythingUpTo(
  session: Asked,
  head: number,
  systemTypes: readonly string[],
): AsyncGenerator<RecordedEvent> {
  if (head === 0) return;
  const all = eventsOf(session, head, undefined)[Symbol.asyncIterator]();
  const system = eventsOf(session, head, systemTypes)[Symbol.asyncIterator]();
  let [one, other] = [await all.next(), await system.next()];
  while (one.done !== true || other.done !== true) {
    const isSystem =
      one.done === true || (other.done !== true && other.value.position < one.value.position);
    if (isSystem) {
      yield other.value as RecordedEvent;
      other = await system.next();
    } else {
      yield one.value as RecordedEvent;
      one = await all.next();
    }
  }
}

/** Events of these types, or everything except system events. */
async function* eventsOf(
  { store, streaming }: Asked,
  head: number,
  types: readonly string[] | undefined,
): AsyncGenerator<RecordedEvent> {
  if (types?.length === 0) return;
  const items: { types: string[] }[] = [];
  for (let from = 0; from < (types?.length ?? 0); from += typesMax) {
    items.push({ types: types?.slice(from, from + typesMax) ?? [] });
  }
  const request = {
    ...(types !== undefined && { selection: { case: "query", value: { items } } as const }),
    to: { case: "toPosition", value: BigInt(head) } as const,
    view: View.HEADERS,
    withRemoved: true,
  };
  for await (const { message } of store.read(request, streaming)) {
    if (message.case === "batch") yield* message.value.events;
    if (message.case === "end") return;
  }
  throw new CommandError("the answer ended without its last message");
}

/** What was read so far, and the findings in it. */
class Reading {
  position = 0;
  events = 0;
  removedEvents = 0;
  systemEvents = 0;
  readonly findings: string[] = [];
  readonly streams = new Map<string, Seen>();
  readonly types = new Map<string, Seen>();
  /** Whether events may be removed while they are read and listed. */
  hasLifecycles = false;
  private readonly versions = new Map<string, number>();
  private time = 0n;

  take(event: RecordedEvent): void {
    const position = Number(event.position);
    const version = Number(event.version);
    if (position <= this.position) this.found(`position ${position} comes after ${this.position}`);
    else this.expect(position);
    this.position = position;
    if (event.type.startsWith("$")) this.systemEvents++;
    else if (event.removed === undefined) this.events++;
    else this.removedEvents++;
    this.hasLifecycles ||= event.type.startsWith("$Stream");
    const { seconds = 0n, nanos = 0 } = event.recordedAt ?? {};
    const time = seconds * 1_000_000_000n + BigInt(nanos);
    if (time < this.time) this.found(`time decreases at position ${position}`);
    this.time = time;
    see(this.types, event.type, position);
    if (event.stream === "") {
      if (version !== 0) this.found(`position ${position} has a version, but no stream`);
      return;
    }
    const before = this.versions.get(event.stream) ?? 0;
    if (version !== before + 1) {
      this.found(`stream ${event.stream}: version ${version} follows ${before} (${position})`);
    }
    this.versions.set(event.stream, version);
    if (event.removed === undefined) see(this.streams, event.stream, position);
  }

  end(head: number): void {
    this.expect(head + 1);
  }

  found(finding: string): void {
    if (this.findings.length < findingsMax) this.findings.push(finding);
  }

  /** Reports the positions between the last one and this one as missing, if there are any. */
  private expect(position: number): void {
    const [first, last] = [this.position + 1, position - 1];
    if (first > last) return;
    const which = first === last ? `position ${first} was` : `positions ${first} to ${last} were`;
    this.found(`${which} missing from the answer`);
  }
}

function see(seen: Map<string, Seen>, name: string, position: number): void {
  const known = seen.get(name);
  if (known === undefined) {
    seen.set(name, { count: 1, first: position, last: position });
    return;
  }
  known.count++;
  known.last = position;
}

interface Listed {
  readonly name: string;
  readonly count: number;
  readonly first: number;
  readonly last: number;
}

async function compareStreams(
  session: Asked,
  prefix: string,
  reading: Reading,
  head: number,
): Promise<number> {
  const { store, once } = session;
  const pages = pagesOf(async (pageToken) => {
    const page = await store.listStreams({ prefix, pageSize, pageToken }, once);
    const rows = page.streams.map((row) => ({ ...row, name: row.stream, count: row.eventCount }));
    return { rows, nextPageToken: page.nextPageToken };
  });
  const isExact = !reading.hasLifecycles;
  return compare(pages, { kind: "stream", seen: reading.streams, prefix, isExact }, reading, head);
}

async function compareTypes(
  session: Asked,
  prefix: string,
  reading: Reading,
  head: number,
): Promise<number> {
  const kept = { kind: "type", seen: reading.types, prefix, isExact: true };
  return compare(typePages(session, prefix), kept, reading, head);
}

function typePages({ store, once }: Asked, prefix: string): AsyncGenerator<Listed> {
  return pagesOf(async (pageToken) => {
    const page = await store.listEventTypes({ prefix, pageSize, pageToken }, once);
    const rows = page.eventTypes.map((row) => ({
      ...row,
      name: row.type,
      count: row.recordedCount,
    }));
    return { rows, nextPageToken: page.nextPageToken };
  });
}

interface Row {
  readonly name: string;
  readonly count: bigint;
  readonly firstPosition: bigint;
  readonly lastPosition: bigint;
}

async function* pagesOf(
  page: (pageToken: string) => Promise<{ rows: readonly Row[]; nextPageToken: string }>,
): AsyncGenerator<Listed> {
  let token = "";
  do {
    const { rows, nextPageToken } = await page(token);
    for (const { name, count, firstPosition, lastPosition } of rows) {
      const [first, last] = [Number(firstPosition), Number(lastPosition)];
      yield { name, count: Number(count), first, last };
    }
    token = nextPageToken;
  } while (token !== "");
}

/** The names of one kind that were read. */
interface Kept {
  readonly kind: string;
  readonly seen: ReadonlyMap<string, Seen>;
  /** `$` for the system's names, empty for the others. */
  readonly prefix: string;
  /** Whether the listing must agree exactly, because no removal changes its numbers. */
  readonly isExact: boolean;
}

/** Every listed name must have been read, and every name read must be listed. */
async function compare(
  listed: AsyncGenerator<Listed>,
  { kind, seen, prefix, isExact }: Kept,
  reading: Reading,
  head: number,
): Promise<number> {
  let names = 0;
  let met = 0;
  for await (const { name, count, first, last } of listed) {
    names++;
    const known = seen.get(name);
    if (known === undefined) {
      // A stream whose events are all removed is listed with no events.
      if (count > 0 && first <= head)
        reading.found(
          `${kind} ${name} is listed from position ${first}, but no event of it was read`,
        );
      continue;
    }
    met++;
    // A stream that got events in the meantime proves less.
    const grown = last > head;
    const same = grown ? count > known.count : count === known.count && last === known.last;
    if (isExact && (first !== known.first || !same)) {
      reading.found(
        `${kind} ${name}: ${counted(known.count, "event")} read (positions ${known.first} to ` +
          `${known.last}), ${counted(count, "event")} listed (positions ${first} to ${last})`,
      );
    }
  }
  const read = [...seen.keys()].filter((name) => name.startsWith("$") === (prefix === "$"));
  if (met < read.length && isExact) {
    reading.found(`${counted(read.length - met, kind)} read but not listed`);
  }
  return names;
}
