// What `annals verify` reports about a server over a storage, over a real socket.
import { Connection } from "../../src/client/rpc/connection.ts";
import { clientOf } from "../../src/client/rpc/service-client.ts";
import { verifyServer, type ServerReport } from "../../src/cli/folders/verify-server.ts";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import type { Storage } from "../../src/storage/storage.ts";
import { startTestServer } from "./running-server.ts";

/** The storage stays open. */
export async function verifyServerOver(storage: Storage): Promise<ServerReport> {
  const keptOpen = Object.create(storage, { close: { value: async () => {} } }) as Storage;
  const server = await startTestServer([], { openStorage: async () => keptOpen });
  const connection = new Connection({ address: server.address });
  try {
    const store = clientOf(EventStoreService, connection);
    return await verifyServer({ store, once: {}, streaming: {} }, () => {});
  } finally {
    connection.close();
    await server.stop();
  }
}
