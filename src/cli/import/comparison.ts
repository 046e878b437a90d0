// Compares a source with what was stored of it: for each stream the number of events and a hash
// over their ids, types, tags, metadata and payloads, in order. Both logs are read from the start.
// About 200 bytes of memory for each stream.

import { createHash } from "node:crypto";
import { callErrorOf } from "../../client/store/call-failure.ts";
import { StreamLifecycle } from "../../gen/annals/v1/stream_service_pb.js";
import type { Session } from "../connection/session.ts";
import { importKeys, positionKey, sourceKey } from "./move-target.ts";
import type { EventSource } from "./source.ts";

export interface Comparison {
  readonly streamCount: number;
  readonly equalCount: number;
  /** Streams of which the store has removed events, by their policy or deletion. */
  readonly removedCount: number;
  readonly different: readonly StreamDifference[];
}

interface StreamDifference {
  readonly stream: string;
  readonly sourceCount: number;
  readonly storeCount: number;
}

interface Compared {
  readonly id: string;
  readonly stream: string;
  readonly type: string;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly data: Uint8Array;
}

class Digests {
  readonly byStream = new Map<string, { count: number; hash: string }>();

  add({ stream, metadata, data, ...event }: Compared): void {
    const digest = this.byStream.get(stream) ?? { count: 0, hash: "" };
    const entries = Object.entries(metadata).toSorted(([a], [b]) => (a < b ? -1 : 1));
    const { id, type, tags, contentType } = event;
    const head = JSON.stringify([digest.hash, id, type, tags, contentType, entries]);
    digest.hash = createHash("sha256").update(head).update(data).digest("base64");
    digest.count += 1;
    this.byStream.set(stream, digest);
  }
}

const nothing = new Uint8Array();

/** `through`: the last position of the source that counts. Undefined: there is none. */
export async function compareStreams(
  source: EventSource,
  session: Session,
  through: bigint | undefined,
): Promise<Comparison> {
  const ofSource = await digestsOfSource(source, session, through ?? 0n);
  const ofStore = await digestsOfStore(source, session, through ?? 0n);
  const names = new Set([...ofSource.byStream.keys(), ...ofStore.byStream.keys()]);
  const different: StreamDifference[] = [];
  let equalCount = 0;
  let removedCount = 0;
  for (const stream of names) {
    const [there, here] = [ofSource.byStream.get(stream), ofStore.byStream.get(stream)];
    const [sourceCount, storeCount] = [there?.count ?? 0, here?.count ?? 0];
    if (there !== undefined && there.hash === here?.hash) equalCount += 1;
    else if (storeCount < sourceCount && (await hasRemoved(stream, session))) removedCount += 1;
    else different.push({ stream, sourceCount, storeCount });
  }
  return { streamCount: names.size, equalCount, removedCount, different };
}

async function digestsOfSource(source: EventSource, { signal }: Session, through: bigint) {
  const digests = new Digests();
  for await (const item of source.read({ after: undefined, isLive: false, signal })) {
    if (item.position > through) break;
    if (item.kind !== "event") continue;
    const { payload, ...event } = item.event;
    const { [source.idKey]: id = event.id, ...metadata } = event.metadata;
    digests.add({
      ...event,
      id,
      metadata,
      data: payload.case === "data" ? payload.value : nothing,
    });
  }
  return digests;
}

async function digestsOfStore({ name, idKey }: EventSource, session: Session, through: bigint) {
  const digests = new Digests();
  const { store, signal } = session;
  for await (const { message } of store.read({}, { signal })) {
    if (message.case !== "batch") continue;
    for (const { metadata, ...event } of message.value.events) {
      if (metadata[sourceKey] !== name || BigInt(metadata[positionKey] ?? 0) > through) continue;
      const { [idKey]: id = event.id, ...entries } = metadata;
      const own = Object.entries(entries).filter(([key]) => !importKeys.has(key));
      digests.add({ ...event, id, metadata: Object.fromEntries(own) });
    }
  }
  return digests;
}

async function hasRemoved(stream: string, { store, once }: Session): Promise<boolean> {
  if (stream === "") return false;
  try {
    const { stream: info } = await store.getStream({ stream }, once);
    const isActive = info?.lifecycle === StreamLifecycle.ACTIVE;
    return !isActive || (info?.eventCount ?? 0n) < (info?.version ?? 0n);
  } catch (error) {
    if (callErrorOf(error)?.reason === "STREAM_NOT_FOUND") return false;
    throw error;
  }
}
