// BatchAppend: the appends of a call are independent, whatever is wrong with one of them.
import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import type {
  BatchAppendReqSchema,
  BatchAppendResp,
} from "../../../src/gen/event_store/client/streams/streams_pb.js";
import { nextOf } from "../../support/calls.ts";
import type { TestServer } from "../../support/running-server.ts";
import { m, named, startKurrent } from "./kurrent-client.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startKurrent();
});
afterAll(() => server.stop());

type Request = MessageInitShape<typeof BatchAppendReqSchema> & { $typeName?: never };

const idText = (value: string) => ({ value: { case: "string", value } }) as const;

/** A request for an append. `deadlineMs`: from now on; it may have passed. */
function request(correlation: string, count: number, deadlineMs = 60_000): Request {
  const at = Date.now() + deadlineMs;
  const value = { seconds: BigInt(Math.floor(at / 1_000)), nanos: (at % 1_000) * 1_000_000 };
  return {
    correlationId: idText(correlation),
    options: {
      streamIdentifier: named("orders"),
      expectedStreamPosition: { case: "any", value: {} },
      deadlineOption: { case: "deadline21100", value },
    },
    proposedMessages: Array.from({ length: count }, () => ({
      id: idText(randomUUID()),
      metadata: { type: "T", "content-type": "application/json" },
      data: Buffer.from("{}"),
    })),
    isFinal: true,
  };
}

/** What became of each append: a revision, or the code and the kind of its refusal. */
async function answersTo(requests: readonly Request[]): Promise<Record<string, unknown>> {
  const call = server.calls.pipe(m.batchAppend);
  for (const each of requests) call.send(each);
  const count = new Set(requests.map(({ correlationId }) => correlationId?.value?.value)).size;
  const said: Record<string, unknown> = {};
  while (Object.keys(said).length < count) {
    const answer: BatchAppendResp = await nextOf(call.answers);
    const { case: kind, value } = answer.result;
    const [detail] = kind === "error" ? value.details : [];
    const id = answer.correlationId?.value;
    said[id?.case === "string" ? id.value : ""] =
      kind === "error"
        ? [value.code, detail?.typeUrl.split(".").at(-1)]
        : value?.currentRevisionOption.value;
  }
  call.end();
  return said;
}

test("a request with too many events is refused alone, with those of its append", async () => {
  const [before, large, after] = [randomUUID(), randomUUID(), randomUUID()];
  const first = { ...request(large, defaultLimits.commitEventsMax + 1), isFinal: false };
  const rest = { ...request(large, 1), options: undefined };
  const said = await answersTo([request(before, 1), first, rest, request(after, 1)]);
  expect(said).toEqual({ [before]: 0n, [large]: [3, "MaximumAppendSizeExceeded"], [after]: 1n });
});

test("an append whose deadline has passed is told so, whatever else is wrong with it", async () => {
  const [late, large] = [randomUUID(), randomUUID()];
  const said = await answersTo([
    request(late, 1, -1_000),
    request(large, defaultLimits.commitEventsMax + 1, -1_000),
  ]);
  expect(said).toEqual({ [late]: [4, "Timeout"], [large]: [4, "Timeout"] });
});
