// A truncation in progress: streams of a preloaded store lose their events, and the load begins
// when the server has begun to reclaim their space.

import { setTimeout as sleep } from "node:timers/promises";
import { clientOf } from "../src/client/rpc/service-client.ts";
import { Connection } from "../src/client/rpc/connection.ts";
import { EventStoreService } from "../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../src/gen/annals/v1/stream_service_pb.js";
import { nameCount } from "./load/events.ts";
import type { Product } from "./product.ts";

/** Server flags by which removed events keep their space for one second only. */
export const truncationFlags = ["--reclaim-after-seconds", "1"] as const;

const atOnce = 64;
const pollMs = 50;
const beginMsMax = 60_000;

/** Removes all but the last event of every second stream of a store of `total` events. */
export async function beginTruncation({ host, port }: Product, total: number): Promise<void> {
  const connection = new Connection({ address: `${host}:${port}` });
  try {
    const streams = clientOf(StreamService, connection);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (; next < nameCount(total);) {
        const stream = `account-${String(next).padStart(8, "0")}`;
        next += 2;
        await streams.updateStream({ stream, policy: { truncateBefore: 10n } });
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    const store = clientOf(EventStoreService, connection);
    for (let waitedMs = 0; ; waitedMs += pollMs) {
      const { reclaiming } = await store.getInfo({});
      if ((reclaiming?.events ?? 0n) > 0n) return;
      if (waitedMs > beginMsMax) throw new Error("the server gives no space back");
      await sleep(pollMs);
    }
  } finally {
    connection.close();
  }
}
