// A server on a folder whose reclaimer runs when a test says so, and a history with everything that
// a store keeps: streams that are truncated, deleted and limited, snapshots, checkpoints, groups.
import { clientOf, type ServiceClient } from "../../src/client/rpc/service-client.ts";
import { Connection } from "../../src/client/rpc/connection.ts";
import { CheckpointService } from "../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../src/gen/annals/v1/stream_service_pb.js";
import { openLevelStore, type LevelStore } from "../../src/storage/leveldb/open.ts";
import { openView } from "../../src/storage/leveldb/offline/view.ts";
import { isCopyState } from "../../src/storage/leveldb/format/keys.ts";
import { reclaimAll, whenAsked } from "./reclaiming.ts";
import { startTestServer, type TestServer } from "./running-server.ts";
import { seededRandom } from "./seeded.ts";

/** Is in the payload of events that are removed, and in no other. */
export const secret = "nobody may read this any more";

export interface Lived {
  readonly server: TestServer;
  readonly store: LevelStore;
  readonly clients: Clients;
  reclaim(): Promise<void>;
  stop(): Promise<void>;
}

export interface Clients {
  readonly store: ServiceClient<(typeof EventStoreService)["method"]>;
  readonly streams: ServiceClient<(typeof StreamService)["method"]>;
  readonly checkpoints: ServiceClient<(typeof CheckpointService)["method"]>;
  readonly groups: ServiceClient<(typeof ConsumerGroupService)["method"]>;
  close(): void;
}

export function clientsOf(address: string): Clients {
  const connection = new Connection({ address });
  return {
    store: clientOf(EventStoreService, connection),
    streams: clientOf(StreamService, connection),
    checkpoints: clientOf(CheckpointService, connection),
    groups: clientOf(ConsumerGroupService, connection),
    close: () => connection.close(),
  };
}

/** `flags` are those of `annals serve`. */
export async function liveServer(folder: string, flags: readonly string[] = []): Promise<Lived> {
  let opened: LevelStore | undefined;
  const openStorage = async () => {
    opened = await openLevelStore({ folder, reserveBytes: 0, reclaim: whenAsked });
    return opened.storage;
  };
  const server = await startTestServer(["--data", folder, ...flags], { openStorage });
  const clients = clientsOf(server.address);
  const store = opened as unknown as LevelStore;
  return {
    server,
    store,
    clients,
    reclaim: () => reclaimAll(store.reclaimer),
    async stop() {
      clients.close();
      await server.stop();
    },
  };
}

/** Appends and changes, the same ones for a seed; the first steps create a group. */
export async function liveOn(clients: Clients, seed: number, steps: number): Promise<void> {
  const random = seededRandom(seed);
  const { store, streams, checkpoints, groups } = clients;
  const any = (count: number): number => Math.floor(random() * count);
  await groups.createGroup({ name: `workers-${seed}`, settings: { query: { items: [] } } });
  const versions = new Map<string, number>();
  for (let step = 0; step < steps; step++) {
    const stream = `s-${seed}-${any(6)}`;
    const events = Array.from({ length: 1 + any(random() < 0.1 ? 60 : 4) }, (_, i) => ({
      type: `Type${any(4)}`,
      tags: random() < 0.5 ? [`t:${any(9)}`] : [],
      payload: {
        case: "data" as const,
        value: Buffer.from(`${secret} ${seed} ${step} ${i} `.repeat(1 + any(30))),
      },
    }));
    const checkpoint = { consumer: `c-${any(3)}`, position: 0n };
    const head = (await store.getInfo({})).head;
    const saved = random() < 0.3 ? { ...checkpoint, position: head, reset: true } : undefined;
    await store.append({ stream, events, ...(saved && { checkpoint: saved }) }).catch(refused);
    const version = (versions.get(stream) ?? 0) + events.length;
    versions.set(stream, version);
    const what = random();
    if (what < 0.1) await streams.deleteStream({ stream }).catch(refused);
    else if (what < 0.2) {
      const truncateBefore = BigInt(1 + any(version));
      await streams.updateStream({ stream, policy: { truncateBefore } }).catch(refused);
    } else if (what < 0.25) {
      await streams.updateStream({ stream, policy: { maxCount: 5n } }).catch(refused);
    } else if (what < 0.4) {
      const state = { case: "data" as const, value: Buffer.from(`state ${step}`) };
      const at = BigInt(1 + any(version));
      await store.saveSnapshot({ stream, version: at, state }).catch(refused);
    } else if (what < 0.5) {
      await checkpoints.saveCheckpoint({ consumer: `d-${any(3)}`, position: head, reset: true });
    }
  }
}

/** Truncates every stream of a seed, so that nothing of it is left to read. */
export async function removeAll({ streams, store }: Clients, seed: number): Promise<void> {
  for (let i = 0; i < 6; i++) {
    const stream = `s-${seed}-${i}`;
    await store.getStream({ stream }).catch(refused);
    await streams.deleteStream({ stream }).catch(refused);
  }
}

function refused(): undefined {
  return undefined;
}

/** Every chunk and side value of the store in a folder, as text. */
export async function copiedIn(folder: string): Promise<string[]> {
  const view = await openView(folder);
  try {
    if (view.findings.length > 0) throw new Error(view.findings.join("\n"));
    const lines: string[] = [];
    for (const prefix of [0x63, 0x6e]) {
      const range = { first: Buffer.from([prefix]), last: Buffer.from([prefix + 1]) };
      const page = { ...range, limit: 1_000_000, bytesMax: 1 << 30 };
      const entries = (await view.content?.kv.page(page)) ?? [];
      for (const entry of entries.filter(([key]) => !isCopyState(key))) {
        lines.push(entry.map((each) => Buffer.from(each).toString("latin1")).join(" "));
      }
    }
    return lines;
  } finally {
    await view.close();
  }
}
