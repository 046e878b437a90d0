// Reads, subscriptions, loads, replays and snapshots from the wire: what they mean in domain words,
// and what is refused, by name.
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { defaultLimits, positionMax } from "../../../src/domain/limits.ts";
import { ReadRequestSchema, SubscribeRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import {
  DeleteSnapshotsRequestSchema,
  GetSnapshotRequestSchema,
  ListSnapshotsRequestSchema,
  LoadRequestSchema,
  GetStateRequestSchema,
  SaveSnapshotRequestSchema,
} from "../../../src/gen/annals/v1/snapshot_pb.js";
import {
  convertLoad,
  convertRead,
  convertGetState,
  convertSubscribe,
} from "../../../src/grpc/convert/read-request.ts";
import {
  convertGet,
  convertListed,
  convertSave,
  convertSelected,
} from "../../../src/grpc/convert/snapshot.ts";

const limits = defaultLimits;
const make = {
  read: converter(ReadRequestSchema, (wire) => convertRead(wire, limits)),
  subscribe: converter(SubscribeRequestSchema, (wire) => convertSubscribe(wire, limits)),
  load: converter(LoadRequestSchema, (wire) => convertLoad(wire, limits)),
  getState: converter(GetStateRequestSchema, (wire) => convertGetState(wire, limits)),
  save: converter(SaveSnapshotRequestSchema, (wire) => convertSave(wire, limits)),
  get: converter(GetSnapshotRequestSchema, (wire) => convertGet(wire, limits)),
  list: converter(ListSnapshotsRequestSchema, (wire) => convertListed(wire, limits)),
  remove: converter(DeleteSnapshotsRequestSchema, (wire) => convertSelected(wire, limits)),
};

function converter<S extends DescMessage, T>(
  schema: S,
  convert: (wire: ReturnType<typeof create<S>>) => T,
) {
  return (init: MessageInitShape<S>): T => convert(create(schema, init));
}

function refused(convert: () => unknown): string[] {
  try {
    convert();
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.failure.reason !== "INVALID_FIELD") throw error;
    return error.failure.violations.map((one) => `${one.field}: ${one.description}`);
  }
  return [];
}

const stream = { case: "stream", value: "s" } as const;
const tooMuch = "more than position_max (9007199254740991, which is 2^53 - 1)";
const contradiction = "begins with none of the item's stream_prefixes, so it can match no event";
const x = (count: number): string => "x".repeat(count);

describe("a read", () => {
  test("of nothing in particular is of everything, forwards, in full", () => {
    expect(make.read({})).toEqual([
      {
        selection: { kind: "all" },
        direction: "forwards",
        from: undefined,
        to: undefined,
        limit: undefined,
      },
      "full",
    ]);
  });

  test("says its selection, bounds, limit and view", () => {
    const items = [
      {
        streams: ["a-1"],
        streamPrefixes: ["a-"],
        types: ["T"],
        tags: ["x", "y"],
        tagsAny: ["z"],
      },
    ];
    const [request, view] = make.read({
      selection: { case: "query", value: { items } },
      direction: 2,
      from: { case: "fromPosition", value: 9n },
      to: { case: "toPosition", value: 1n },
      limit: 5n,
      view: 3,
    });
    expect(request).toEqual({
      selection: { kind: "query", query: { items } },
      direction: "backwards",
      from: { kind: "position", position: 9 },
      to: { kind: "position", position: 1 },
      limit: 5,
    });
    expect(view).toBe("headers");
  });

  test("may name system streams", () => {
    const [{ selection }] = make.read({ selection: { case: "stream", value: "$system" } });
    expect(selection).toEqual({ kind: "stream", stream: "$system" });
  });

  test.each<[string, number, number, number | undefined, number | undefined]>([
    // seconds, nanos, forwards from, forwards to: recorded times have microseconds.
    ["a whole microsecond", 1, 5_000, 1_000_005, 1_000_005],
    ["between two microseconds", 1, 5_001, 1_000_006, 1_000_005],
    ["before 1970", -1, 999_999_999, 0, 0],
    ["the first second there is", -62_135_596_800, 0, 0, 0],
    ["the last second there is", 253_402_300_799, 999_999_999, positionMax, positionMax],
  ])("from and to a time: %s", (_, seconds, nanos, from, to) => {
    const time = { seconds: BigInt(seconds), nanos };
    const bounds = (direction: number) =>
      make.read({
        direction,
        from: { case: "fromTime", value: time },
        to: { case: "toTime", value: time },
      })[0];
    expect(bounds(1)).toMatchObject({ from: { time: from }, to: { time: to } });
    expect(bounds(2)).toMatchObject({ from: { time: to }, to: { time: from } });
  });

  test.each<[MessageInitShape<typeof ReadRequestSchema>, string]>([
    [{ selection: { case: "stream", value: "" } }, "stream: is empty, but required"],
    [
      { selection: { case: "stream", value: x(513) } },
      "stream: has 513 bytes of UTF-8, more than stream_name_bytes_max (512)",
    ],
    [
      { selection: { case: "stream", value: "a\u0001" } },
      "stream: has the control character U+0001 at index 1",
    ],
    [
      { from: { case: "fromVersion", value: 1n } },
      "from_version: is only for a read of one stream: `stream` is not set",
    ],
    [
      { selection: { case: "query", value: {} }, to: { case: "toVersion", value: 1n } },
      "to_version: is only for a read of one stream: `stream` is not set",
    ],
    [
      { selection: stream, from: { case: "fromVersion", value: 0n } },
      "from_version: is 0, less than 1",
    ],
    [{ selection: stream, to: { case: "toVersion", value: 0n } }, "to_version: is 0, less than 1"],
    [{ from: { case: "fromPosition", value: 0n } }, "from_position: is 0, less than 1"],
    [{ to: { case: "toPosition", value: 0n } }, "to_position: is 0, less than 1"],
    [
      { from: { case: "fromPosition", value: 2n ** 64n - 1n } },
      `from_position: is 18446744073709551615, ${tooMuch}`,
    ],
    [{ limit: 2n ** 53n }, `limit: is 9007199254740992, ${tooMuch}`],
    [{ direction: 3 as never }, "direction: is 3, which is no value of its enum"],
    [{ view: -1 as never }, "view: is -1, which is no value of its enum"],
    [
      { from: { case: "fromTime", value: { seconds: -62_135_596_801n } } },
      "from_time: has -62135596801 seconds, which is not in the years 1 to 9999",
    ],
    [
      { to: { case: "toTime", value: { seconds: 253_402_300_800n } } },
      "to_time: has 253402300800 seconds, which is not in the years 1 to 9999",
    ],
    [
      { from: { case: "fromTime", value: { nanos: -1 } } },
      "from_time.nanos: is -1, not in 0 to 999,999,999",
    ],
    [
      { from: { case: "fromTime", value: { nanos: 1_000_000_000 } } },
      "from_time.nanos: is 1000000000, not in 0 to 999,999,999",
    ],
    [
      {
        selection: { case: "query", value: { items: [{ streams: ["b"], streamPrefixes: ["a"] }] } },
      },
      `query.items[0].streams[0]: ${contradiction}`,
    ],
  ])("%o is refused", (init, violation) => {
    expect(refused(() => make.read(init))).toEqual([violation]);
  });
});

describe("a subscription", () => {
  test("of nothing in particular begins at the first event, with a checkpoint every 10 s", () => {
    expect(make.subscribe({})).toEqual([
      {
        selection: { kind: "all" },
        start: { kind: "after-position", position: 0 },
        checkpointIntervalMs: 10_000,
        batchEventsMax: undefined,
      },
      "full",
    ]);
  });

  test.each<[MessageInitShape<typeof SubscribeRequestSchema>["start"], object]>([
    [
      { case: "afterPosition", value: 7n },
      { kind: "after-position", position: 7 },
    ],
    [
      { case: "afterVersion", value: 0n },
      { kind: "after-version", version: 0 },
    ],
    [
      { case: "fromTime", value: { seconds: 1n, nanos: 1 } },
      { kind: "from-time", time: 1_000_001 },
    ],
    [{ case: "fromEnd", value: {} }, { kind: "end" }],
  ])("begins at %o", (start, meant) => {
    expect(make.subscribe({ selection: stream, ...(start && { start }) })[0].start).toEqual(meant);
  });

  test.each([
    [{ seconds: 0n, nanos: 100_000_000 }, 100],
    [{ seconds: 3_600n, nanos: 0 }, 3_600_000],
    [{ seconds: 1n, nanos: 1 }, 1_001],
  ])("has an interval of %o", (checkpointInterval, ms) => {
    expect(make.subscribe({ checkpointInterval })[0].checkpointIntervalMs).toBe(ms);
  });

  test.each<[MessageInitShape<typeof SubscribeRequestSchema>, string]>([
    [
      { start: { case: "afterVersion", value: 0n } },
      "after_version: is only for one stream: `stream` is not set",
    ],
    [
      { start: { case: "afterPosition", value: 2n ** 53n } },
      `after_position: is 9007199254740992, ${tooMuch}`,
    ],
    [
      { checkpointInterval: { nanos: 99_000_000 } },
      "checkpoint_interval: is 99 ms, not in 100 to 3600000 ms",
    ],
    [
      { checkpointInterval: { seconds: 3_601n } },
      "checkpoint_interval: is 3601000 ms, not in 100 to 3600000 ms",
    ],
    [
      { checkpointInterval: { seconds: -1n } },
      "checkpoint_interval: is -1000 ms, not in 100 to 3600000 ms",
    ],
    [
      { checkpointInterval: { seconds: 1n, nanos: -1 } },
      "checkpoint_interval: of 1 s and -1 ns is not a valid google.protobuf.Duration",
    ],
    [
      { checkpointInterval: { seconds: 2n ** 62n } },
      `checkpoint_interval: of ${2n ** 62n} s and 0 ns is not a valid google.protobuf.Duration`,
    ],
    [{ view: 9 as never }, "view: is 9, which is no value of its enum"],
  ])("%o is refused", (init, violation) => {
    expect(refused(() => make.subscribe(init))).toEqual([violation]);
  });
});

describe("loads and replays", () => {
  test("mean what they say", () => {
    expect(
      make.load({ stream: "s", snapshotKind: "k", maxVersion: 3n, withoutSnapshot: true }),
    ).toEqual([{ stream: "s", snapshotKind: "k", maxVersion: 3, withoutSnapshot: true }, "full"]);
    expect(make.getState({ stream: "s" })).toEqual({ stream: "s", at: undefined });
    expect(make.getState({ stream: "s", at: { case: "version", value: 2n } }).at).toEqual({
      kind: "version",
      version: 2,
    });
    const time = { seconds: 1n, nanos: 1_999 };
    expect(make.getState({ stream: "s", at: { case: "time", value: time } }).at).toEqual({
      kind: "time",
      time: 1_000_001,
    });
  });

  test.each([
    [() => make.load({}), "stream: is empty, but required"],
    [
      () => make.load({ stream: "s", view: 3 }),
      "view: is VIEW_HEADERS: a state is not rebuilt from headers",
    ],
    [
      () => make.load({ stream: "s", maxVersion: 2n ** 60n }),
      `max_version: is 1152921504606846976, ${tooMuch}`,
    ],
    [
      () => make.load({ stream: "s", snapshotKind: x(129) }),
      "snapshot_kind: has 129 bytes of UTF-8, more than snapshot_kind_bytes_max (128)",
    ],
    [() => make.getState({}), "stream: is empty, but required"],
    [
      () => make.getState({ stream: "s", at: { case: "version", value: 0n } }),
      "version: is 0, less than 1",
    ],
  ])("%s is refused", (convert, violation) => {
    expect(refused(convert)).toEqual([violation]);
  });
});

describe("snapshots", () => {
  const state = { case: "data", value: Buffer.from("state") } as const;

  test("are saved as sent, with a media type", () => {
    expect(make.save({ stream: "s", version: 1n, state })).toEqual({
      stream: "s",
      kind: "",
      version: 1,
      contentType: "application/octet-stream",
      data: state.value,
      metadata: {},
      mayBeAhead: false,
    });
    const json = { case: "json", value: { kind: { case: "boolValue", value: true } } } as const;
    const saved = make.save({
      stream: "s",
      version: 1n,
      kind: "k",
      state: json,
      metadata: { a: "b" },
    });
    expect(saved).toMatchObject({
      kind: "k",
      contentType: "application/json",
      metadata: { a: "b" },
    });
    expect(Buffer.from(saved.data).toString()).toBe("true");
  });

  test("of the largest size are taken", () => {
    const value = Buffer.alloc(limits.snapshotBytesMax);
    expect(
      make.save({ stream: "s", version: 1n, state: { case: "data", value } }).data,
    ).toHaveLength(3_145_728);
  });

  test.each([
    [() => make.save({ version: 1n, state }), "stream: is empty, but required"],
    [
      () => make.save({ stream: "$s", version: 1n, state }),
      "stream: begins with $, which is reserved for the system",
    ],
    [() => make.save({ stream: "s", state }), "version: is 0, less than 1"],
    [() => make.save({ stream: "s", version: 1n }), "state: is required: data or json"],
    [
      () => make.save({ stream: "s", version: 1n, kind: "a\tb", state }),
      "kind: has the control character U+0009 at index 1",
    ],
    [
      () => make.save({ stream: "s", version: 1n, state, contentType: "ä" }),
      "content_type: has a character that is not printable ASCII",
    ],
    [
      () =>
        make.save({
          stream: "s",
          version: 1n,
          state: { case: "data", value: Buffer.alloc(3_145_729) },
        }),
      "data: has 3145729 bytes, more than snapshot_bytes_max (3145728)",
    ],
    [
      () => make.save({ stream: "s", version: 1n, state, metadata: { $a: "" } }),
      'metadata["$a"]: begins with $, which is reserved for the system',
    ],
    [() => make.get({ stream: "" }), "stream: is empty, but required"],
    [
      () => make.get({ stream: "s", maxVersion: 2n ** 53n }),
      `max_version: is 9007199254740992, ${tooMuch}`,
    ],
    [
      () => make.list({ stream: "s", kind: x(129) }),
      "kind: has 129 bytes of UTF-8, more than snapshot_kind_bytes_max (128)",
    ],
    [
      () => make.remove({ stream: "s", maxVersion: 2n ** 53n }),
      `max_version: is 9007199254740992, ${tooMuch}`,
    ],
  ])("%s is refused", (convert, violation) => {
    expect(refused(convert)).toEqual([violation]);
  });

  test("are asked for by kind: the default one is a kind too", () => {
    expect(make.list({ stream: "s" }).kind).toBeUndefined();
    expect(make.list({ stream: "s", kind: "" }).kind).toBe("");
    expect(make.remove({ stream: "s", maxVersion: 0n }).maxVersion).toBeUndefined();
    expect(make.get({ stream: "s", view: 2 })).toEqual({
      stream: "s",
      kind: "",
      maxVersion: undefined,
      view: "json",
      mayBeAhead: false,
    });
  });
});
