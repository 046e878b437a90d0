// What the tests of the services share: requests and payloads in short, and a read as a whole.
import { fromJson, type MessageInitShape } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import type { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import type { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { collect } from "../../support/calls.ts";
import { type TestServer } from "../../support/running-server.ts";

export const m = EventStoreService.method;

export type AppendInit = MessageInitShape<typeof AppendRequestSchema>;
export type ReadInit = MessageInitShape<typeof ReadRequestSchema>;

export const json = (value: unknown) =>
  ({ case: "json", value: fromJson(ValueSchema, value as never) }) as const;
export const data = (text: string) => ({ case: "data", value: Buffer.from(text) }) as const;
export const uuid = (n: number): string => `0190a000-0000-7000-8000-${String(n).padStart(12, "0")}`;

/** `count` events of type `T1`, `T2`, ... in a stream. */
export function events(count: number): NonNullable<AppendInit["events"]> {
  return Array.from({ length: count }, (_, i) => ({ type: `T${i + 1}`, tags: [`n:${i % 2}`] }));
}

export async function read(server: TestServer, request: ReadInit) {
  const messages = await collect(server.calls.stream(m.read, request));
  const last = messages.pop()?.message;
  if (last?.case !== "end") throw new Error("a read without an end");
  const found = messages.flatMap(({ message }) =>
    message.case === "batch" ? message.value.events : [],
  );
  return {
    events: found,
    positions: found.map(({ position }) => Number(position)),
    end: last.value,
  };
}
