// What a server answers, checked from outside: everything is read once, removed events too;
// positions, versions and times must run without a gap, and what the listings say must be what was
// read. Event types count removed events, too, and are compared in any case. Where streams have
// lifecycles, events are removed meanwhile: then the listing of streams proves less.

import { View } from "../gen/annals/v1/event_pb.js";
import type { RecordedEvent } from "../gen/annals/v1/event_pb.js";
import { CommandError } from "./options.ts";
import type { Session } from "./session.ts";

export interface ServerReport {
  readonly storeId: string;
  readonly head: number;
  readonly events: number;
  readonly streams: number;
  readonly types: number;
  /**
   * Positions up to the head that were not answered: system events, and what lifecycles removed.
   */
  readonly notAnswered: number;
  /** Empty: the server is sound. */
  readonly findings: readonly string[];
}

const everything = { view: View.HEADERS, withRemoved: true };
const pageSize = 1_000;
const findingsMax = 1_000;

interface Seen {
  count: number;
  version: number;
  readonly first: number;
  last: number;
}

/** `progress` is told the last position that was read, and the last there is. */
export async function verifyServer(
  session: Session,
  progress: (position: number, head: number) => void,
): Promise<ServerReport> {
  const { store, once, streaming } = session;
  const { storeId, head: durable } = await store.getInfo({}, once);
  const before = await systemEvents(session);
  const reading = new Reading(before.lifecycles);
  let head: number | undefined;
  for await (const { message } of store.read(everything, streaming)) {
    if (message.case === "end") head = Number(message.value.head);
    if (message.case !== "batch") continue;
    for (const event of message.value.events) reading.take(event);
    progress(reading.position, Number(durable));
  }
  if (head === undefined) throw new CommandError("the answer ended without its end");
  const system = await systemEvents(session);
  reading.end(head, system);
  const streams = await compareStreams(session, reading, head);
  const types = await compareTypes(session, reading, head);
  const { events, findings } = reading;
  return { storeId, head, events, streams, types, notAnswered: head - events, findings };
}

/** What was read so far, and what was wrong with it. */
class Reading {
  position = 0;
  events = 0;
  private removed = 0;
  private readonly versions = new Map<string, number>();
  readonly findings: string[] = [];
  readonly streams = new Map<string, Seen>();
  readonly types = new Map<string, Seen>();
  /** Whether events may be removed while they are read and listed. */
  lifecycles: boolean;
  private time = 0n;

  constructor(lifecycles: boolean) {
    this.lifecycles = lifecycles;
  }

  take(event: RecordedEvent): void {
    const position = Number(event.position);
    const version = Number(event.version);
    if (position <= this.position) this.found(`position ${position} comes after ${this.position}`);
    this.position = position;
    if (event.removed === undefined) this.events++;
    else this.removed++;
    const { seconds = 0n, nanos = 0 } = event.recordedAt ?? {};
    const time = seconds * 1_000_000_000n + BigInt(nanos);
    if (time < this.time) this.found(`time runs backwards at position ${position}`);
    this.time = time;
    see(this.types, event.type, position, 0);
    if (event.stream === "") {
      if (version !== 0) this.found(`position ${position} has a version, but no stream`);
      return;
    }
    const before = this.versions.get(event.stream) ?? 0;
    if (version !== before + 1) {
      this.found(`stream ${event.stream}: version ${version} follows ${before} (${position})`);
    }
    this.versions.set(event.stream, version);
    if (event.removed === undefined) see(this.streams, event.stream, position, version);
  }

  /** Only system events are not answered. */
  end(head: number, system: SystemEvents): void {
    this.lifecycles ||= system.lifecycles;
    const missing = head - this.events - this.removed - system.events;
    if (missing > 0) {
      this.found(`${missing} positions up to ${head} were not answered`);
    }
  }

  found(finding: string): void {
    if (this.findings.length < findingsMax) this.findings.push(finding);
  }
}

function see(seen: Map<string, Seen>, name: string, position: number, version: number): void {
  const known = seen.get(name);
  if (known === undefined) {
    seen.set(name, { count: 1, version, first: position, last: position });
    return;
  }
  known.count++;
  known.version = version;
  known.last = position;
}

interface Listed {
  readonly name: string;
  readonly count: number;
  readonly first: number;
  readonly last: number;
}

async function compareStreams(session: Session, reading: Reading, head: number): Promise<number> {
  const { store, once } = session;
  const pages = pagesOf(async (pageToken) => {
    const page = await store.listStreams({ pageSize, pageToken }, once);
    const rows = page.streams.map((row) => ({ ...row, name: row.stream, count: row.eventCount }));
    return { rows, nextPageToken: page.nextPageToken };
  });
  const isExact = !reading.lifecycles;
  return compare(pages, { kind: "stream", seen: reading.streams, isExact }, reading, head);
}

async function compareTypes(session: Session, reading: Reading, head: number): Promise<number> {
  const kept = { kind: "type", seen: reading.types, isExact: true };
  return compare(typePages(session, ""), kept, reading, head);
}

interface SystemEvents {
  readonly events: number;
  /** Whether any stream has one. */
  readonly lifecycles: boolean;
}

async function systemEvents(session: Session): Promise<SystemEvents> {
  let events = 0;
  let lifecycles = false;
  for await (const { name, count } of typePages(session, "$")) {
    events += count;
    lifecycles ||= name.startsWith("$Stream");
  }
  return { events, lifecycles };
}

function typePages({ store, once }: Session, prefix: string): AsyncGenerator<Listed> {
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

/** What was read of the names of a kind. */
interface Kept {
  readonly kind: string;
  readonly seen: ReadonlyMap<string, Seen>;
  /** Whether the listing must say what was read: no removal changes its numbers. */
  readonly isExact: boolean;
}

/** Each name that is listed must have been read, and the other way around. */
async function compare(
  listed: AsyncGenerator<Listed>,
  { kind, seen, isExact }: Kept,
  reading: Reading,
  head: number,
): Promise<number> {
  let names = 0;
  let met = 0;
  for await (const { name, count, first, last } of listed) {
    names++;
    const known = seen.get(name);
    if (known === undefined) {
      // A stream whose events were all removed is listed, with no events.
      if (count > 0 && first <= head)
        reading.found(`${kind} ${name} is listed from position ${first} only there`);
      continue;
    }
    met++;
    // Appended to meanwhile: then there is less to compare.
    const grown = last > head;
    const same = grown ? count > known.count : count === known.count && last === known.last;
    if (isExact && (first !== known.first || !same)) {
      reading.found(
        `${kind} ${name}: ${known.count} events at ${known.first} to ${known.last} were read, ` +
          `${count} at ${first} to ${last} are listed`,
      );
    }
  }
  if (met < seen.size && isExact)
    reading.found(`${seen.size - met} names (${kind}) are not listed`);
  return names;
}
