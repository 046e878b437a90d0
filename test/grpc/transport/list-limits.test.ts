// Every list that a request can have is bounded before it is decoded. The lists are found by the
// descriptors, so that a new one without a limit fails here.
import { ScalarType, type DescField, type DescMessage, type DescService } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { Streams } from "../../../src/gen/event_store/client/streams/streams_pb.js";
import { StreamsService } from "../../../src/gen/kurrentdb/protocol/v2/streams/streams_pb.js";
import { DCB } from "../../../src/gen/umadb/v1/umadb_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { decodeRequest } from "../../../src/grpc/transport/decode.ts";
import { listLimitOf } from "../../../src/grpc/transport/list-limits.ts";

interface Found {
  readonly request: DescMessage;
  /** From the request to the list. */
  readonly path: readonly DescField[];
}

/** The lists and maps of a message and of the messages in it. JSON is bounded otherwise. */
function listsIn(
  request: DescMessage,
  message = request,
  path: readonly DescField[] = [],
): Found[] {
  return message.fields.flatMap((field) => {
    const to = [...path, field];
    const isList = field.fieldKind === "list" || field.fieldKind === "map";
    const own = isList ? [{ request, path: to }] : [];
    const inner = field.fieldKind === "map" ? undefined : field.message;
    if (inner === undefined || inner.typeName.startsWith("google.protobuf.")) return own;
    return path.some(({ message: above }) => above === inner)
      ? own
      : [...own, ...listsIn(request, inner, to)];
  });
}

const subscriptionsFile = "persistent_subscriptions/persistent_subscriptions_pb.js";
const { PersistentSubscriptions } = (await import(
  `../../../src/gen/event_store/client/${subscriptionsFile}`
)) as { PersistentSubscriptions: DescService };

const own = [EventStoreService, StreamService, CheckpointService, ConsumerGroupService];
const services = [...own, Streams, PersistentSubscriptions, StreamsService, DCB];
const requests = new Set(services.flatMap(({ methods }) => methods.map(({ input }) => input)));
const lists = [...requests].flatMap((request) => listsIn(request));

function wrapped(field: DescField, content: Buffer): Buffer {
  return Buffer.concat([varint(field.number * 8 + 2), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

/** A request with so many entries in the list. Numbers are packed. */
function requestWith({ path }: Found, count: number): Buffer {
  const list = path.at(-1) as DescField;
  const isNumbers =
    list.fieldKind === "list" &&
    (list.listKind === "enum" || (list.listKind === "scalar" && list.scalar !== ScalarType.STRING));
  const entries = isNumbers
    ? wrapped(list, Buffer.alloc(count, 1))
    : Buffer.concat(Array.from({ length: count }, () => wrapped(list, Buffer.alloc(0))));
  return path.slice(0, -1).reduceRight((inner, field) => wrapped(field, inner), entries);
}

const cases = lists.map((found) => {
  const names = found.path.map(({ name }) => name).join(".");
  return [`${found.request.name}.${names}`, found] as const;
});

describe("lists in requests", () => {
  test("are found in every service", () => {
    expect(cases.map(([name]) => name)).toEqual(
      expect.arrayContaining([
        "AppendRequest.events",
        "AppendPipeRequest.append.conditions.query.items.tags",
        "SubscribeRequest.query.items.streams",
        "SaveCheckpointRequest.metadata",
        "UpdateStreamRequest.policy.labels",
        "ConsumeRequest.ack.tokens",
        "DiscardParkedRequest.positions",
      ]),
    );
  });

  test.each(cases)("%s is refused beyond its limit, by the limit's name", (_, found) => {
    const list = found.path.at(-1) as DescField;
    const { name, countMax } = listLimitOf(list);
    expect(countMax).toBeLessThanOrEqual(10_000);
    const decode = (count: number) => decodeRequest(found.request, requestWith(found, count));
    expect(() => decode(countMax)).not.toThrow();
    const message = `${list.name}: has more entries than ${name} (${countMax})`;
    expect(() => decode(countMax + 1)).toThrow(message);
    expect(() => decode(20 * countMax)).toThrow(message);
  });
});
