// `annals verify` of a server: sound where it is, whatever was removed; and what it finds where an
// answer is not what another one says.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientOf, type ServiceClient } from "../../../src/client/rpc/service-client.ts";
import { Connection } from "../../../src/client/rpc/connection.ts";
import { verifyServer } from "../../../src/cli/folders/verify-server.ts";
import type { RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { run, jsonLines } from "../captured-terminal.ts";

type Store = ServiceClient<(typeof EventStoreService)["method"]>;

let server: TestServer;
let connection: Connection;
let store: Store;

/** Streams of which nothing, everything and a part is left; one with a policy and no event. */
beforeAll(async () => {
  server = await startTestServer();
  connection = new Connection({ address: server.address });
  store = clientOf(EventStoreService, connection);
  const streams = clientOf(StreamService, connection);
  const events = [{ type: "A" }, { type: "B" }, { type: "A" }];
  for (const stream of ["whole", "deleted", "gone", "truncated", "back"]) {
    await store.append({ stream, events });
  }
  await streams.deleteStream({ stream: "deleted" });
  await streams.deleteStream({ stream: "gone", permanent: true });
  await streams.deleteStream({ stream: "back" });
  await streams.updateStream({ stream: "truncated", policy: { truncateBefore: 4n } });
  await streams.updateStream({ stream: "empty", policy: { maxCount: 1n } });
  await store.append({ stream: "back", events });
});
afterAll(async () => {
  connection.close();
  await server.stop();
});

const verified = (asked: Store) =>
  verifyServer({ store: asked, once: {}, streaming: {} }, () => {});

/** The store, with an answer of its own to reads. */
function reading(change: (event: RecordedEvent) => RecordedEvent[]): Store {
  return {
    ...store,
    async *read(request, options) {
      for await (const answer of store.read(request, options)) {
        const { message } = answer;
        if (message.case === "batch") message.value.events = message.value.events.flatMap(change);
        yield answer;
      }
    },
  };
}

describe("a server that is verified", () => {
  test("is sound, and everything of it was looked at", async () => {
    const { head } = await store.getInfo({});
    expect(await verified(store)).toMatchObject({
      findings: [],
      head: Number(head),
      events: 6,
      removedEvents: 12,
      systemEvents: 5,
      types: 2,
    });
  });

  test("may be named as an argument, like a folder", async () => {
    const { code, output } = await run(["verify", server.address, "--json"]);
    expect([code, jsonLines(output)]).toMatchObject([0, [{ sound: true, events: 6 }]]);
    const nobody = await run(["verify", "127.0.0.1:1"]);
    expect(nobody.errors).toContain("no server at 127.0.0.1:1");
  });

  test.each<[string, (event: RecordedEvent) => RecordedEvent[], string[]]>([
    [
      "an event is not answered",
      (event) => (event.position === 2n ? [] : [event]),
      ["position 2 was missing from the answer", "version 3 follows 1", "type B"],
    ],
    [
      "several are not",
      (event) => (event.position < 4n ? [] : [event]),
      ["positions 1 to 3 were missing from the answer"],
    ],
    [
      "a removed one is not",
      (event) => (event.position === 5n ? [] : [event]),
      ["position 5 was missing from the answer"],
    ],
    [
      "a system event is not",
      (event) => (event.type === "$StreamTombstoned" ? [] : [event]),
      ["was missing from the answer", "type $StreamTombstoned is listed"],
    ],
    [
      "an event comes twice",
      (event) => (event.position === 2n ? [event, event] : [event]),
      ["position 2 comes after 2"],
    ],
    [
      "a type is another one",
      (event) => [event.position === 2n ? { ...event, type: "C" } : event],
      ["type B", "1 type read but not listed"],
    ],
  ])("is not where %s", async (_, change, told) => {
    const { findings } = await verified(reading(change));
    for (const text of told) expect(findings.join("\n")).toContain(text);
  });
});
