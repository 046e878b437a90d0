// A KurrentDB (EventStoreDB) server as a source, read as its clients read it: `$all`, in order.
// Streams of the system and links are passed over. The metadata of streams and deletions become
// changes of streams. docs/protocols.md has the mapping of events.

import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Connection, type TlsOptions } from "../../client/rpc/connection.ts";
import { clientOf } from "../../client/rpc/service-client.ts";
import { Gossip, MemberInfo_VNodeState } from "../../gen/event_store/client/gossip/gossip_pb.js";
import {
  ReadReq_Options_ReadDirection as Direction,
  Streams,
  ReadReq_OptionsSchema,
  type ReadReq_Options_AllOptionsSchema,
  type ReadResp_ReadEvent_RecordedEvent as Recorded,
} from "../../gen/event_store/client/streams/streams_pb.js";
import {
  clientIdKey,
  linkType,
  metadataBase64Key,
  metadataKey,
  metadataType,
  tombstoneRevision,
} from "../../protocols/kurrentdb/mapping/content.ts";
import { idOf } from "../../protocols/kurrentdb/mapping/ids.ts";
import { metadataMembers } from "../../protocols/kurrentdb/mapping/metadata.ts";
import { CommandError, UsageError } from "../arguments/options.ts";
import type { EventSource, SourceChange, SourceItem, SourceRange } from "./source.ts";
import { isTemporaryCall } from "./source-failure.ts";

const defaultPort = 2113;
const answerMsMax = 10_000;
/** More than any log has. */
const everything = 2n ** 53n - 1n;

/** A connection string as the clients of KurrentDB take it. */
interface Target {
  readonly isDiscovered: boolean;
  readonly credentials: string | undefined;
  readonly hosts: readonly string[];
  readonly tls: TlsOptions | undefined;
}

export async function openKurrentdb(url: string): Promise<EventSource> {
  const target = targetOf(url);
  const { address, connection } = await connect(target);
  const streams = clientOf(Streams, connection);
  const read = (options: Options, signal: AbortSignal) =>
    streams.read({ options: create(ReadReq_OptionsSchema, options) }, { signal });
  return {
    name: `kurrentdb://${address}`,
    kind: "kurrentdb",
    idKey: clientIdKey,
    async head(signal) {
      const allOption = { case: "end", value: {} } as const;
      const last = read(
        {
          ...common,
          streamOption: { case: "all", value: { allOption } },
          readDirection: Direction.Backwards,
          countOption: { case: "count", value: 1n },
        },
        signal,
      );
      for await (const { content } of last) {
        if (content.case === "event") return content.value.event?.commitPosition;
      }
      return undefined;
    },
    async *read(range) {
      for await (const { content } of read(rangeOptions(range), range.signal)) {
        const event = content.case === "event" ? content.value.event : undefined;
        if (event === undefined || isBehind(event, range)) continue;
        yield itemOf(event);
      }
    },
    isTemporary: isTemporaryCall,
    close: () => Promise.resolve(connection.close()),
  };
}

type Options = Exclude<MessageInitShape<typeof ReadReq_OptionsSchema>, { $typeName: string }>;

const common = {
  resolveLinks: false,
  filterOption: { case: "noFilter", value: {} },
  uuidOption: { content: { case: "string", value: {} } },
} satisfies Options;

function rangeOptions({ after, isLive }: SourceRange): Options {
  const allOption: MessageInitShape<typeof ReadReq_Options_AllOptionsSchema>["allOption"] =
    after === undefined
      ? { case: "start", value: {} }
      : { case: "position", value: { commitPosition: after, preparePosition: after } };
  return {
    ...common,
    streamOption: { case: "all", value: { allOption } },
    readDirection: Direction.Forwards,
    countOption: isLive
      ? { case: "subscription", value: {} }
      : { case: "count", value: everything },
  };
}

/** A read begins at its position, a subscription after it. */
function isBehind({ commitPosition }: Recorded, { after }: SourceRange): boolean {
  return after !== undefined && commitPosition <= after;
}

function itemOf(event: Recorded): SourceItem {
  const position = event.commitPosition;
  const stream = Buffer.from(event.streamIdentifier?.streamName ?? []).toString("utf8");
  const { type = "", "content-type": contentType = "", created = "" } = event.metadata;
  const recordedAt = timeOf(created);
  if (type === "$streamDeleted" && event.streamRevision >= tombstoneRevision) {
    const change = { kind: "delete", permanent: true } as const;
    return { kind: "change", position, stream, change, recordedAt };
  }
  if (stream.startsWith("$$") && !stream.startsWith("$$$") && type === metadataType) {
    const change = changeOf(event, position);
    return { kind: "change", position, stream: stream.slice(2), change, recordedAt };
  }
  if (stream.startsWith("$") || type.startsWith("$") || type === linkType) {
    return { kind: "passed", position };
  }
  const id = idOf(event.id);
  if (id === undefined) throw new CommandError(`the event at position ${position} has no UUID`);
  const { data, customMetadata } = event;
  return {
    kind: "event",
    position,
    event: {
      id,
      stream,
      type,
      tags: [],
      metadata: metadataOf(customMetadata),
      contentType: contentType || "application/octet-stream",
      payload: data.length === 0 ? { case: undefined } : { case: "data", value: data },
      recordedAt,
      revision: event.streamRevision,
    },
  };
}

/** Also where it is empty: KurrentDB's clients would be shown the other entries otherwise. */
function metadataOf(bytes: Uint8Array): Record<string, string> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(bytes)
    ? { [metadataKey]: text.toString("utf8") }
    : { [metadataBase64Key]: text.toString("base64") };
}

const ticksPerSecond = 10_000_000n;

/** Of ticks of 100 ns since 1970, with all their digits. */
function timeOf(created: string): string {
  if (!/^\d{1,19}$/.test(created)) return "";
  const ticks = BigInt(created);
  const seconds = new Date(Number(ticks / ticksPerSecond) * 1_000).toISOString().slice(0, 19);
  return `${seconds}.${String(ticks % ticksPerSecond).padStart(7, "0")}Z`;
}

function changeOf({ data }: Recorded, position: bigint): SourceChange {
  const text = Buffer.from(data).toString("utf8");
  const members = metadataMembers(text);
  if (members === undefined) {
    throw new CommandError(`the stream metadata at position ${position} is no JSON object`);
  }
  const { $tb: first, $maxAge: maxAge, $maxCount: maxCount } = members;
  if (first === tombstoneRevision) return { kind: "delete", permanent: false };
  return {
    kind: "policy",
    maxAgeSeconds: typeof maxAge === "number" ? maxAge : undefined,
    maxCount: typeof maxCount === "number" ? maxCount : undefined,
    firstRevision: typeof first === "bigint" ? first : undefined,
    labels: { [metadataKey]: text },
  };
}

function targetOf(url: string): Target {
  const [, discover, credentials, hosts = "", query = ""] =
    /^[a-z]+(\+discover)?:\/\/(?:([^@/?]*)@)?([^/?]*)\/?(?:\?(.*))?$/.exec(url) ?? [];
  const names = hosts.split(",").filter((host) => host !== "");
  if (names.length === 0) {
    throw new UsageError(`"${shownUrl(url)}" names no host: write kurrentdb://HOST:PORT?tls=false`);
  }
  const options = new Map(
    [...new URLSearchParams(query)].map(([name, value]) => [name.toLowerCase(), value]),
  );
  if (options.get("tlsverifycert") === "false") {
    throw new UsageError("tlsVerifyCert=false: give the authority with tlsCAFile instead");
  }
  return {
    isDiscovered: discover !== undefined || names.length > 1,
    credentials,
    hosts: names.map((host) => (/:\d+$/.test(host) ? host : `${host}:${defaultPort}`)),
    tls: options.get("tls") === "false" ? undefined : tlsOf(options),
  };
}

function tlsOf(options: ReadonlyMap<string, string>): TlsOptions {
  const file = (name: string) => {
    const path = options.get(name.toLowerCase());
    if (path === undefined) return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new CommandError(`${name}: ${(error as Error).message}`, { cause: error });
    }
  };
  return {
    rootCertificates: file("tlsCAFile"),
    certificateChain: file("userCertFile"),
    privateKey: file("userKeyFile"),
  };
}

/** Without a password. */
function shownUrl(url: string): string {
  return url.replace(/\/\/[^@/]*@/, "//");
}

/** Of several hosts, the leader; of one, itself. */
async function connect(target: Target): Promise<{ address: string; connection: Connection }> {
  const [first = ""] = target.hosts;
  if (!target.isDiscovered) return { address: first, connection: connectionTo(first, target) };
  let failure: unknown;
  for (const host of target.hosts) {
    const connection = connectionTo(host, target);
    try {
      const leader = await leaderOf(connection);
      return { address: leader, connection: connectionTo(leader, target) };
    } catch (error) {
      failure = error;
    } finally {
      connection.close();
    }
  }
  const reason = failure instanceof Error ? failure.message : String(failure);
  throw new CommandError(`none of ${target.hosts.join(", ")} names a leader: ${reason}`);
}

async function leaderOf(connection: Connection): Promise<string> {
  const { members } = await clientOf(Gossip, connection).read({}, { timeoutMs: answerMsMax });
  const leader = members.find(
    ({ isAlive, state }) => isAlive && state === MemberInfo_VNodeState.Leader,
  );
  const { address = "", port = 0 } = leader?.httpEndPoint ?? {};
  if (leader === undefined) throw new CommandError("no member is the leader");
  return `${address}:${port}`;
}

function connectionTo(address: string, { tls, credentials }: Target): Connection {
  const text = credentials === undefined ? undefined : decodeURIComponent(credentials);
  return new Connection({
    address,
    tls,
    authorization: text === undefined ? undefined : `Basic ${Buffer.from(text).toString("base64")}`,
  });
}
