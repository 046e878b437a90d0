// Append: the options, then events, then one answer.

import { fromBinary } from "@bufbuild/protobuf";
import { eventObjectBytes } from "../../../domain/append.ts";
import { WireReader } from "../../../domain/wire.ts";
import type { Empty } from "../../../gen/event_store/client/shared_pb.js";
import {
  AppendReqSchema,
  type AppendReq_Options,
  type AppendResp,
} from "../../../gen/event_store/client/streams/streams_pb.js";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import { decodeRequest } from "../../../grpc/transport/decode.ts";
import type { AppendResult, ExpectedRevision } from "./append-rules.ts";
import type { CallerContext } from "../mapping/context.ts";
import { appendTooLarge, invalidArgument, streamDeleted } from "../mapping/errors.ts";
import { nameOf } from "../mapping/names.ts";
import { permit, writeNeeds } from "../mapping/permissions.ts";
import { readProposed, type Proposed } from "./proposed-event.ts";
import { writeEvents } from "./write.ts";

const tagMessage = 0x12;
const empty: Empty = { $typeName: "event_store.client.Empty" };

type Expectation =
  | { readonly case: "revision" | "streamPosition"; readonly value: bigint }
  | { readonly case: "noStream" | "any" | "streamExists"; readonly value: unknown }
  | { readonly case: undefined };

/** Throws INVALID_ARGUMENT. */
export function expectedRevisionOf(expectation: Expectation): ExpectedRevision {
  switch (expectation.case) {
    case "revision":
    case "streamPosition":
      return { kind: "revision", revision: expectation.value };
    case "noStream":
      return { kind: "none" };
    case "any":
      return { kind: "any" };
    case "streamExists":
      return { kind: "exists" };
    case undefined:
      throw invalidArgument("the expected revision is missing");
  }
}

export async function appendCall(
  context: CallerContext,
  requests: AsyncIterable<readonly Buffer[]>,
  call: Call,
): Promise<AppendResp> {
  const { limits } = context;
  let options: AppendReq_Options | undefined;
  const events: Proposed[] = [];
  let bytes = 0;
  for await (const request of oneByOne(requests)) {
    if (options === undefined) {
      const { content } = decodeRequest(AppendReqSchema, request);
      if (content.case !== "options") throw invalidArgument("the options come first");
      options = content.value;
      continue;
    }
    const message = messageIn(request);
    bytes += message.length;
    if (bytes > limits.appendBytesMax) throw appendTooLarge(limits.appendBytesMax);
    call.hold(message.length + eventObjectBytes);
    events.push(readProposed(message, limits));
  }
  if (options === undefined) throw invalidArgument("the options are missing");
  const stream = nameOf(options.streamIdentifier, limits);
  const expected = expectedRevisionOf(options.expectedStreamRevision);
  permit(call, writeNeeds(stream));
  const result = await writeEvents(
    context,
    { stream, expected, events, principal: call.principal },
    call,
  );
  return answerOf(result, stream, expected);
}

export async function* oneByOne(
  requests: AsyncIterable<readonly Buffer[]>,
): AsyncGenerator<Buffer> {
  for await (const some of requests) yield* some;
}

function messageIn(request: Buffer): Uint8Array {
  if (request[0] === tagMessage) {
    const reader = new WireReader(request, 1);
    const view = reader.view();
    if (reader.done) return view;
  }
  const { content } = fromBinary(AppendReqSchema, request);
  if (content.case === "options") throw invalidArgument("the options come once");
  throw invalidArgument("the request has no proposed message");
}

function answerOf(result: AppendResult, stream: string, expected: ExpectedRevision): AppendResp {
  const $typeName = "event_store.client.streams.AppendResp" as const;
  switch (result.kind) {
    case "deleted":
      throw streamDeleted(stream);
    case "appended": {
      const { revision, position } = result;
      const at = {
        $typeName: "event_store.client.streams.AppendResp.Position" as const,
        commitPosition: BigInt(position),
        preparePosition: BigInt(position),
      };
      return {
        $typeName,
        result: {
          case: "success",
          value: {
            $typeName: "event_store.client.streams.AppendResp.Success",
            currentRevisionOption:
              revision < 0
                ? { case: "noStream", value: empty }
                : { case: "currentRevision", value: BigInt(revision) },
            positionOption:
              position === 0
                ? { case: "noPosition", value: empty }
                : { case: "position", value: at },
          },
        },
      };
    }
    case "conflict":
      return {
        $typeName,
        result: {
          case: "wrongExpectedVersion",
          value: {
            $typeName: "event_store.client.streams.AppendResp.WrongExpectedVersion",
            currentRevisionOption:
              result.current < 0
                ? { case: "currentNoStream", value: empty }
                : { case: "currentRevision", value: BigInt(result.current) },
            expectedRevisionOption: wireExpected(expected),
          },
        },
      };
  }
}

function wireExpected(expected: ExpectedRevision) {
  switch (expected.kind) {
    case "revision":
      return { case: "expectedRevision", value: expected.revision } as const;
    case "any":
      return { case: "expectedAny", value: empty } as const;
    case "exists":
      return { case: "expectedStreamExists", value: empty } as const;
    case "none":
      return { case: "expectedNoStream", value: empty } as const;
  }
}
