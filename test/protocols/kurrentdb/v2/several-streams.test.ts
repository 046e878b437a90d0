// Version 2 of the KurrentDB protocol: appends to several streams, which are stored together or not at all.
import { randomUUID } from "node:crypto";
import { fromBinary, type DescMessage } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as errors from "../../../../src/gen/kurrentdb/protocol/v2/streams/errors/errors_pb.js";
import {
  SchemaFormat,
  StreamsService,
  type AppendSessionResponse,
} from "../../../../src/gen/kurrentdb/protocol/v2/streams/streams_pb.js";
import { StatusSchema } from "../../../../src/gen/google/rpc/status_pb.js";
import { collect } from "../../../support/calls.ts";
import type { TestServer } from "../../../support/running-server.ts";
import {
  append,
  at,
  events,
  ofStream,
  startKurrent,
  textOf,
  trailersOf,
} from "../kurrent-client.ts";

const v2 = StreamsService.method;

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

interface Record2 {
  recordId?: string;
  format?: SchemaFormat;
  data?: string;
}

const record = ({
  recordId = randomUUID(),
  format = SchemaFormat.JSON,
  data = "{}",
}: Record2 = {}) => ({
  recordId,
  schema: { format, name: "Placed" },
  data: Buffer.from(data),
  properties: { user: { kind: { case: "stringValue", value: "u" } as const } },
});

interface Part {
  stream: string;
  records: ReturnType<typeof record>[];
  expectedRevision?: bigint;
}

async function session(...parts: Part[]): Promise<AppendSessionResponse> {
  const call = server.calls.pipe(v2.appendSession);
  for (const part of parts) call.send(part);
  call.end();
  const [answer] = await collect({ [Symbol.asyncIterator]: () => call.answers });
  return answer as AppendSessionResponse;
}

const records = (streams: string[], checks: [stream: string, state: bigint][] = []) =>
  server.calls.unary(v2.appendRecords, {
    records: streams.map((stream) => ({ stream, ...record() })),
    checks: checks.map(([stream, expectedState]) => ({
      type: { case: "streamState", value: { stream, expectedState } } as const,
    })),
  });

/** The one typed detail of a failed call. */
async function detailOf(promise: Promise<unknown>, schema: DescMessage): Promise<unknown> {
  const { "grpc-status-details-bin": bytes } = await trailersOf(promise);
  const status = fromBinary(StatusSchema, bytes as Buffer);
  expect(status.details).toHaveLength(1);
  const [detail] = status.details;
  return detail && anyUnpack(detail, schema);
}

const streamsOf = async (stream: string) =>
  (await events(server.calls, { streamOption: ofStream(stream) })).map(at);

describe("a session", () => {
  test("appends to each of its streams, and a repetition is answered alike", async () => {
    const parts = [
      { stream: "a", records: [record(), record()], expectedRevision: -1n },
      { stream: "b", records: [record()] },
    ];
    const answer = await session(...parts);
    expect(answer).toMatchObject({
      position: 4n,
      output: [
        { stream: "a", streamRevision: 1n, position: 3n },
        { stream: "b", streamRevision: 0n, position: 4n },
      ],
    });
    const again = await session(...parts);
    expect(again.output.map(({ streamRevision }) => streamRevision)).toEqual([1n, 0n]);
    expect(await streamsOf("a")).toEqual(["a@0", "a@1"]);
  });

  test("of which one stream is not as expected stores nothing", async () => {
    await append(server.calls, "a", [{}]);
    const refused = session(
      { stream: "b", records: [record()] },
      { stream: "a", records: [record()], expectedRevision: 4n },
    );
    expect(await detailOf(refused, errors.StreamRevisionConflictErrorDetailsSchema)).toMatchObject({
      stream: "a",
      expectedRevision: 4n,
      actualRevision: 0n,
    });
    expect(await streamsOf("b")).toEqual([]);
  });

  test("that repeats an append in part is a conflict", async () => {
    const known = record();
    await session({ stream: "a", records: [known] });
    const refused = session(
      { stream: "a", records: [known] },
      { stream: "b", records: [record()] },
    );
    expect(await detailOf(refused, errors.StreamRevisionConflictErrorDetailsSchema)).toMatchObject({
      stream: "a",
    });
    expect(await streamsOf("b")).toEqual([]);
  });

  test("uses an id of another stream again", async () => {
    const known = record();
    await session({ stream: "a", records: [known] });
    await session({ stream: "b", records: [known] }, { stream: "c", records: [record()] });
    const [stored] = await events(server.calls, { streamOption: ofStream("b") });
    expect(stored?.id?.value.value).toBe(known.recordId);
  });

  test("names a stream once, and something to append", async () => {
    const twice = session(
      { stream: "a", records: [record()] },
      { stream: "a", records: [record()] },
    );
    expect(
      await detailOf(twice, errors.StreamAlreadyInAppendSessionErrorDetailsSchema),
    ).toMatchObject({ stream: "a" });
    expect(await trailersOf(session())).toMatchObject({ code: 9 });
  });

  test("with a record that is too large names its size", async () => {
    const data = "x".repeat(3_200_000);
    const refused = session({ stream: "a", records: [record({ data })] });
    expect(
      await detailOf(refused, errors.AppendRecordSizeExceededErrorDetailsSchema),
    ).toMatchObject({
      stream: "a",
      maxSize: 3_145_728,
    });
  });

  test("shows properties and schema as metadata to version 1", async () => {
    await session({ stream: "a", records: [record({ format: SchemaFormat.AVRO })] });
    const [stored] = await events(server.calls, { streamOption: ofStream("a") });
    expect(stored?.metadata).toMatchObject({
      type: "Placed",
      "content-type": "application/octet-stream",
    });
    expect(JSON.parse(textOf(stored?.customMetadata ?? Buffer.alloc(0)))).toEqual({
      "$schema.name": "Placed",
      "$schema.format": "Avro",
      user: "u",
    });
  });
});

describe("records", () => {
  test("of several streams may alternate", async () => {
    const answer = await records(["a", "b", "a"], [["a", -1n]]);
    expect(answer).toMatchObject({
      position: 4n,
      revisions: [
        { stream: "a", revision: 1n },
        { stream: "b", revision: 0n },
      ],
    });
  });

  test("are stored only if every check holds, and all that do not are named", async () => {
    await append(server.calls, "a", [{}]);
    const refused = records(
      ["b"],
      [
        ["a", -1n],
        ["c", -4n],
        ["b", -1n],
      ],
    );
    const detail = await detailOf(refused, errors.AppendConsistencyViolationErrorDetailsSchema);
    expect(detail).toMatchObject({
      violations: [
        { checkIndex: 0, type: { value: { stream: "a", expectedState: -1n, actualState: 0n } } },
        { checkIndex: 1, type: { value: { stream: "c", expectedState: -4n, actualState: -1n } } },
      ],
    });
    expect(await streamsOf("b")).toEqual([]);
    await records(["b"], [["a", 0n]]);
    expect(await streamsOf("b")).toEqual(["b@0"]);
  });
});
