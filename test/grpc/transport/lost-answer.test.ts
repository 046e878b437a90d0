// An answer that nobody took is let go of, and made again when the client goes on. Where that fails,
// the call ends for its handler too.
import { once } from "node:events";
import { expect, test } from "vitest";
import type { Call } from "../../../src/grpc/transport/call-environment.ts";
import { RepeatableMessage } from "../../../src/grpc/transport/message-parts.ts";
import { startBareServer } from "../../support/bare-server.ts";
import { initialWindow, StandingClient } from "../../support/standing-client.ts";

test("a handler whose answer cannot be made again is cancelled", async () => {
  const again = () => Promise.reject(new Error("the disk does not answer"));
  let cancelled: Promise<unknown> | undefined;
  const server = await startBareServer({
    async *read(_: unknown, call: Call) {
      cancelled = once(call.signal, "abort");
      yield new RepeatableMessage(Buffer.alloc(300_000, 1), { rest() {}, again });
      await cancelled;
    },
  });
  const client = new StandingClient(server);
  client.ask("/annals.v1.EventStoreService/Read", Buffer.alloc(0));
  await client.dropped(initialWindow);
  client.widen(1_000_000);
  await cancelled;
  expect(server.lines).toHaveLength(1);
  client.raw.destroy();
  await server.stop();
});
