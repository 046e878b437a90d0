// Who did it: the principal of an append is recorded by the server with the event, stays with it in
// backups and removed records, and cannot be set by clients.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connect } from "../../src/client/sdk.ts";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../src/gen/annals/v1/stream_service_pb.js";
import { startServer } from "../../src/server.ts";
import { jsonLines, run } from "../cli/captured-terminal.ts";
import { accessFolder, showing, type AccessFolder } from "../support/access.ts";
import { Calls, collect, failedOf, nextOf } from "../support/calls.ts";
import {
  configOf,
  recordingLogger,
  startTestServer,
  type TestServer,
} from "../support/running-server.ts";

const { append, appendPipe, read } = EventStoreService.method;
const { updateStream, deleteStream } = StreamService.method;

let folder: AccessFolder;
let data: string;
let tokens: Record<"ann" | "ben", string>;
let server: TestServer | undefined;
beforeEach(async () => {
  folder = accessFolder();
  data = mkdtempSync(join(tmpdir(), "annals-"));
  tokens = {
    ann: await folder.token("ann", ["service"]),
    ben: await folder.token("ben", ["admin"]),
  };
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  folder.remove();
  rmSync(data, { recursive: true });
});

async function serving(...flags: string[]): Promise<TestServer> {
  server = await startTestServer([...folder.flags, ...flags]);
  return server;
}

/** The principals of the events that a read answers. */
async function principals(calls: TestServer["calls"], request: object = {}, token = tokens.ben) {
  const answers = await collect(calls.stream(read, request, showing(token)));
  return answers.flatMap(({ message }) =>
    message.case === "batch" ? message.value.events.map(({ principal }) => principal) : [],
  );
}

const event = (stream: string) => ({ stream, events: [{ type: "T" }] });
const streamOf = (stream: string) => ({ selection: { case: "stream", value: stream } });

describe("the principal of an append", () => {
  test("is recorded with each event, of a pipe as well, and kept by a retry of another", async () => {
    const { calls } = await serving();
    const id = "0190a1a2-0000-7000-8000-000000000001";
    const retried = {
      stream: "s",
      events: [
        { id, type: "T" },
        { type: "U", tags: ["t"] },
      ],
    };
    await calls.unary(append, retried, showing(tokens.ann));
    const pipe = calls.pipe(appendPipe, showing(tokens.ben));
    pipe.send({ append: event("s") });
    await nextOf(pipe.answers);
    pipe.end();
    const again = { stream: "s", events: [{ id, type: "T" }] };
    const { deduplicated } = await calls.unary(append, again, showing(tokens.ben));
    expect(deduplicated).toBe(true);
    expect(await principals(calls)).toEqual(["ann", "ann", "ben"]);
    expect(await principals(calls, { view: 3 })).toEqual(["ann", "ann", "ben"]);
  });

  test("is shown by the SDK and the commands", async () => {
    const { calls, address } = await serving();
    await calls.unary(append, event("s"), showing(tokens.ann));
    const client = connect({ address, token: tokens.ben });
    const [first] = await collect(client.read({ stream: "s" }));
    expect(first?.principal).toBe("ann");
    client.close();
    const environment = { ANNALS_ADDRESS: address, ANNALS_TOKEN: tokens.ben };
    const lines = jsonLines((await run(["read", "--json"], { environment })).output);
    expect(lines).toMatchObject([{ principal: "ann", type: "T" }]);
    expect((await run(["read"], { environment })).output).toContain("@ann");
    const exported = (await run(["export"], { environment })).output;
    const input = exported.replace('"stream":"s"', '"stream":"copy"').replace(/"id":"[^"]*",/, "");
    const imported = await run(["import", "-", "--namespace", "n"], { environment, input });
    expect(imported.code).toBe(0);
    expect(await principals(calls, streamOf("copy"))).toEqual(["ben"]);
  });

  test("cannot be set by a client, who is told so", async () => {
    const { calls } = await serving();
    const message = (field: number, bytes: Uint8Array) =>
      new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(bytes).finish();
    const text = (field: number, value: string) => message(field, Buffer.from(value));
    const forged = Buffer.concat([text(3, "T"), text(12, "somebody")]);
    const request = Buffer.concat([text(1, "s"), message(2, forged)]);
    const path = "/annals.v1.EventStoreService/Append";
    const failure = await failedOf(calls.bytes(path, request, showing(tokens.ann)));
    expect(failure).toMatchObject({
      reason: "INVALID_FIELD",
      message: "events[0].principal: is recorded by the server and cannot be set",
    });
    const metadata = { stream: "s", events: [{ type: "T", metadata: { $principal: "x" } }] };
    expect(await calls.failure(append, metadata, showing(tokens.ann))).toMatchObject({
      reason: "INVALID_FIELD",
    });
  });

  test("is empty where nobody is asked", async () => {
    server = await startTestServer();
    await server.calls.unary(append, event("s"));
    const [answer] = await collect(server.calls.stream(read, {}));
    expect(answer?.message).toMatchObject({ value: { events: [{ principal: "" }] } });
  });

  test("is in a store, in its backup and in what is restored", async () => {
    const [store, copy, again] = ["store", "backup", "again"].map((name) => join(data, name));
    const onDisk = async (path = ""): Promise<void> => {
      const config = configOf("--data", path, "--port", "0", ...folder.flags);
      const { logger, lines } = recordingLogger();
      const running = await startServer(config, logger);
      const [address = ""] = running.addresses;
      server = { ...running, address, calls: new Calls(address), lines };
    };
    await onDisk(store);
    await server?.calls.unary(append, event("s"), showing(tokens.ann));
    await server?.stop();
    server?.calls.close();
    expect(await run(["backup", String(store), String(copy)])).toMatchObject({ code: 0 });
    expect(await run(["restore", String(copy), String(again)])).toMatchObject({ code: 0 });
    await onDisk(again);
    expect(server && (await principals(server.calls))).toEqual(["ann"]);
    server?.calls.close();
  });
});

describe("the principal of a change of a stream", () => {
  test("is recorded with its event, and is its actor where none is named", async () => {
    const { calls } = await serving();
    await calls.unary(append, event("s"), showing(tokens.ann));
    const policy = { policy: { maxCount: 1n } };
    await calls.unary(updateStream, { stream: "s", ...policy }, showing(tokens.ben));
    const named = { stream: "s", actor: "on behalf of Cy" };
    await calls.unary(deleteStream, named, showing(tokens.ben));
    const answers = await collect(
      calls.stream(read, streamOf("$lifecycle-s") as never, showing(tokens.ann)),
    );
    const events = answers.flatMap(({ message }) =>
      message.case === "batch" ? message.value.events : [],
    );
    const told = events.map(({ principal, data: json }) => {
      const { actor } = JSON.parse(Buffer.from(json).toString()) as { actor: string };
      return { principal, actor };
    });
    expect(told).toEqual([
      { principal: "ben", actor: "ben" },
      { principal: "ben", actor: "on behalf of Cy" },
    ]);
  });
});
