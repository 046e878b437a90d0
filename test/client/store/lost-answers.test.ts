// A change whose answer is lost is made again only where twice is the same as once. Where it is not, a
// second attempt would undo what others did in between.
import { create, type DescMethod } from "@bufbuild/protobuf";
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { connect, type AnnalsClient, type JsonEvent } from "../../../src/client/sdk.ts";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { GetStreamResponseSchema } from "../../../src/gen/annals/v1/info_pb.js";
import {
  DeleteSnapshotsResponseSchema,
  type DeleteSnapshotsRequest,
} from "../../../src/gen/annals/v1/snapshot_pb.js";
import { errorInfo, failureWith, scripted } from "../rpc/scripted-server.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

type Client = AnnalsClient<JsonEvent>;
type Change = readonly [
  name: string,
  method: DescMethod,
  change: (client: Client) => Promise<unknown>,
];

/** How many calls a change makes of a server whose first answers are these failures. */
async function callsOf([, method, change]: Change, ...reasons: (string | undefined)[]) {
  let calls = 0;
  const handlers = {
    [method.localName]: (_: unknown, answer: sendUnaryData<unknown>) => {
      calls += 1;
      if (calls > reasons.length) answer(null, create(method.output));
      else {
        const reason = reasons[calls - 1];
        answer(failureWith(14, "not now", reason === undefined ? [] : [errorInfo(reason)]));
      }
    },
  };
  const server = await scripted(handlers, method.parent);
  ends.push(() => server.stop());
  const retry = { delayMinMs: 1, delayMaxMs: 4, attemptsMax: 5 };
  const client = connect({ address: server.connect().address, retry });
  ends.push(() => client.close());
  const error: unknown = await change(client).then(
    () => undefined,
    (failed: unknown) => failed,
  );
  return { calls, error };
}

const once: Change[] = [
  ["a group's settings", ConsumerGroupService.method.updateGroup, (c) => c.groups.update("g", {})],
  ["a group's deletion", ConsumerGroupService.method.deleteGroup, (c) => c.groups.delete("g")],
  [
    "a group's new start",
    ConsumerGroupService.method.resetGroup,
    (c) => c.groups.reset("g", { after: "end" }),
  ],
  ["the replay of all", ConsumerGroupService.method.replayParked, (c) => c.groups.replay("g")],
  ["the discard of all", ConsumerGroupService.method.discardParked, (c) => c.groups.discard("g")],
  [
    "a checkpoint's deletion",
    CheckpointService.method.deleteCheckpoint,
    (c) => c.checkpoints.delete("c"),
  ],
  [
    "a checkpoint that may go back",
    CheckpointService.method.saveCheckpoint,
    (c) => c.checkpoints.save("c", 1, { reset: true }),
  ],
];

const positions = [1];
const repeated: Change[] = [
  [
    "the replay of some",
    ConsumerGroupService.method.replayParked,
    (c) => c.groups.replay("g", { positions }),
  ],
  [
    "the discard of some",
    ConsumerGroupService.method.discardParked,
    (c) => c.groups.discard("g", { positions }),
  ],
];

describe("a change that must not be made twice", () => {
  test.each(once)("is not made again where its answer is lost: %s", async (...change) => {
    const { calls, error } = await callsOf(change, undefined, undefined);
    expect(calls).toBe(1);
    expect(error).toMatchObject({ code: "UNAVAILABLE", mayHaveBeenStored: true });
  });

  test.each(once)("is made again where it had no effect: %s", async (...change) => {
    expect(await callsOf(change, "RECOVERING", "STOPPING")).toMatchObject({ calls: 3 });
  });
});

describe("a change that may be made twice", () => {
  test.each(repeated)("is made again where its answer is lost: %s", async (...change) => {
    const { calls, error } = await callsOf(change, undefined, undefined);
    expect({ calls, error }).toEqual({ calls: 3, error: undefined });
  });
});

test("the deletion of all snapshots names the version up to which, again where it is lost", async () => {
  const versions: bigint[] = [];
  const server = await scripted({
    getStream: (_: unknown, answer: sendUnaryData<unknown>) =>
      answer(null, create(GetStreamResponseSchema, { stream: { stream: "a", version: 7n } })),
    deleteSnapshots: (
      { request }: ServerUnaryCall<DeleteSnapshotsRequest, unknown>,
      answer: sendUnaryData<unknown>,
    ) => {
      versions.push(request.maxVersion);
      if (versions.length === 1) answer(failureWith(14, "not now", []));
      else answer(null, create(DeleteSnapshotsResponseSchema, { deletedCount: 2n }));
    },
  });
  ends.push(() => server.stop());
  const client = connect({ address: server.connect().address, retry: { delayMinMs: 1 } });
  ends.push(() => client.close());
  expect(await client.snapshots.delete("a")).toBe(2);
  expect(versions).toEqual([7n, 7n]);
});
