// An UmaDB server as a source. Its events have no stream. docs/protocols.md has the mapping of
// events; an event's `uuid` is its id here, as far as it is one and occurs once.

import { Connection } from "../../client/rpc/connection.ts";
import { clientOf } from "../../client/rpc/service-client.ts";
import { DCB, type SequencedEvent } from "../../gen/umadb/v1/umadb_pb.js";
import { UsageError } from "../arguments/options.ts";
import { isTemporaryCall } from "./source-failure.ts";
import type { EventSource, SourceItem, SourceOptions } from "./source.ts";

const uuidKey = "umadb-uuid";
const trackingKey = "umadb-tracking";
const trackingSource = "umadb";
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const batchSize = 1_000;

/** `umadb://[:KEY@]HOST:PORT`, with `umadbs` over TLS. */
export function openUmadb(url: string, { contentType }: SourceOptions): Promise<EventSource> {
  const [, secure, key, address] = /^umadb(s)?:\/\/(?::?([^@/]*)@)?([^/?@]+)\/?$/.exec(url) ?? [];
  if (address === undefined) {
    throw new UsageError(
      "an UmaDB server is given as umadb://HOST:PORT, or umadb://:KEY@HOST:PORT",
    );
  }
  const connection = new Connection({
    address,
    tls: secure === undefined ? undefined : {},
    token: key === undefined ? undefined : decodeURIComponent(key),
  });
  const dcb = clientOf(DCB, connection);
  return Promise.resolve({
    name: `umadb://${address}`,
    kind: "umadb",
    idKey: uuidKey,
    async head(signal) {
      return (await dcb.head({}, { signal })).position;
    },
    async *read({ after, isLive, signal }) {
      const answers = isLive
        ? dcb.subscribe({ batchSize, ...(after !== undefined && { after }) }, { signal })
        : dcb.read({ batchSize, start: (after ?? 0n) + 1n }, { signal });
      for await (const { events } of answers) {
        for (const event of events) yield* itemsOf(event, contentType);
      }
    },
    isTemporary: isTemporaryCall,
    close: () => Promise.resolve(connection.close()),
  });
}

function* itemsOf(
  { position, event, trackingInfo: tracking }: SequencedEvent,
  contentType = "application/octet-stream",
): Generator<SourceItem> {
  if (event === undefined) return;
  const id = uuid.test(event.uuid) ? event.uuid.toLowerCase() : "";
  yield {
    kind: "event",
    position,
    event: {
      id,
      stream: "",
      type: event.eventType,
      tags: [...new Set(event.tags)],
      metadata: {
        ...Object.fromEntries(event.metadata.map(({ key, value }) => [key, value])),
        ...(id === "" && { [uuidKey]: event.uuid }),
        ...(tracking && { [trackingKey]: `${tracking.position} ${tracking.source}` }),
      },
      contentType,
      payload: event.data.length === 0 ? { case: undefined } : { case: "data", value: event.data },
      recordedAt: "",
      revision: undefined,
    },
  };
  if (tracking === undefined) return;
  const { source, position: tracked } = tracking;
  const consumer = `umadb:${source}`;
  yield { kind: "tracking", position, consumer, source: trackingSource, tracked };
}
