// A read whose events cannot be converted ends with the read of the log that it came from.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import type { ServiceContext } from "../../../src/grpc/services/context.ts";
import { readMethods } from "../../../src/grpc/services/read.ts";
import type { Call } from "../../../src/grpc/transport/call-environment.ts";
import type { Batch } from "../../../src/storage/storage.ts";

test("the log's read is closed when a batch cannot be converted", async () => {
  const closed: string[] = [];
  const cutOff = Buffer.from([0x55, 3, 1, 2, 3]);
  async function* read() {
    try {
      const batch: Batch = { count: 1, bytes: cutOff.length, through: 1, frames: [cutOff] };
      await Promise.resolve();
      yield { kind: "batch", batch };
      yield { kind: "batch", batch };
    } finally {
      closed.push("read");
    }
  }
  const identity = { history: [{ epoch: "1234567890abcdef", id: "x" }] };
  const log = { info: () => ({ identity }), read };
  const services = { log, limits: defaultLimits, environment: {} } as unknown as ServiceContext;
  const call = { gate: {} } as unknown as Call;
  const answers = readMethods(services).read(create(ReadRequestSchema, { view: 3 }), call);
  const all = async (): Promise<void> => {
    for await (const parts of answers) expect(parts).toBeUndefined();
  };
  await expect(all()).rejects.toThrow("record: not a frame");
  expect(closed).toEqual(["read"]);
});
