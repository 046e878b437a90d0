// One id, one event: an id that the store made is known again when a client sends it, as an export
// that is imported into the store it came from does.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import type { NewEventSchema } from "../../../src/gen/annals/v1/event_pb.js";
import { failedOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { run } from "../../cli/captured-terminal.ts";

const m = EventStoreService.method;

let folder: string;
let server: TestServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
  server = await startTestServer(["--data", join(folder, "data")]);
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

const append = (...events: MessageInitShape<typeof NewEventSchema>[]) =>
  server.calls.unary(m.append, { stream: "s", events });

describe("an id that the store made", () => {
  test("is told, and is the event's id, with its position", async () => {
    const { eventIds, firstPosition } = await append({ type: "A" }, { type: "B" });
    const events: string[] = [];
    const from = { case: "fromPosition", value: firstPosition } as const;
    for await (const { message } of server.calls.stream(m.read, {
      selection: { case: "stream", value: "s" },
      from,
    })) {
      if (message.case === "batch") events.push(...message.value.events.map(({ id }) => id));
    }
    expect(events).toEqual(eventIds);
  });

  test("sent by a client is the event that is there, stored once", async () => {
    const made = await append({ type: "A", tags: ["k:1"] });
    const [id = ""] = made.eventIds;
    const again = await append({ id, type: "A", tags: ["k:1"] });
    expect(again).toMatchObject({ deduplicated: true, firstPosition: made.firstPosition });
    const other = await failedOf(append({ id, type: "other" }));
    expect(other).toMatchObject({ code: 6, reason: "EVENT_ID_CONFLICT" });
    expect((await server.calls.unary(m.getInfo, {})).head).toBe(made.lastPosition);
  });

  test("of an event in another stream is refused, and nothing is told of that one", async () => {
    const { eventIds } = await append({ type: "A" });
    const [id = ""] = eventIds;
    for (const type of ["A", "other"]) {
      const request = { stream: "elsewhere", events: [{ id, type }] };
      const failed = await failedOf(server.calls.unary(m.append, request));
      expect(failed).toMatchObject({ code: 6, reason: "EVENT_ID_CONFLICT" });
      expect(failed.message).not.toMatch(/position/);
      expect(failed.eventIdConflict?.events).toMatchObject([{ id, position: 0n }]);
    }
  });

  test("of another store is an id like any other", async () => {
    const id = "01a20760-7e23-7766-bb1c-0534e4b20afd";
    expect(await append({ id, type: "A" })).toMatchObject({ deduplicated: false });
    expect(await append({ id, type: "A" })).toMatchObject({ deduplicated: true });
  });

  test("is known again by an import of the store's own export", async () => {
    const before = (await server.calls.unary(m.getInfo, {})).head;
    const environment = { ANNALS_ADDRESS: server.address };
    const { output } = await run(["export"], { environment });
    expect(await run(["import", "-"], { environment, input: output })).toMatchObject({ code: 0 });
    expect((await server.calls.unary(m.getInfo, {})).head).toBe(before);
  });
});
