// Events are written for clients from the bytes of their records, by hand: whatever is in a record,
// the generated codec reads the same back, and filters lose none.
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RecordedEventSchema } from "../../../../src/gen/annals/v1/event_pb.js";
import {
  ReadRespSchema,
  type ReadResp_ReadEvent,
} from "../../../../src/gen/event_store/client/streams/streams_pb.js";
import type { Batch } from "../../../../src/log/verbs.ts";
import type { CallerContext } from "../../../../src/protocols/kurrentdb/mapping/context.ts";
import { EventStream } from "../../../../src/protocols/kurrentdb/read/event-stream.ts";
import { EventWriter } from "../../../../src/protocols/kurrentdb/read/event-writer.ts";
import { unusual, UsualEvents } from "../../../../src/protocols/kurrentdb/read/usual-event.ts";
import { Words } from "../../../../src/protocols/kurrentdb/mapping/words.ts";
import { composeFrame, enterFrame, recordsIn } from "../../../../src/domain/record.ts";
import { WireReader } from "../../../../src/domain/wire.ts";
import { patternOf } from "../../../../src/protocols/kurrentdb/read/pattern.ts";

type Fields = MessageInitShape<typeof RecordedEventSchema>;

const recordOf = (fields: Fields): Uint8Array =>
  toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));

/** The records as the log hands them out, as many in a frame as asked for. */
function batchOf(all: readonly Uint8Array[], inFrame = 3): Batch {
  const framed = all.map((record) => {
    const length: number[] = [];
    for (let left = record.length; ; left >>>= 7) {
      if (left < 0x80) {
        length.push(left);
        break;
      }
      length.push((left & 0x7f) | 0x80);
    }
    return Buffer.concat([Buffer.from([0x0a, ...length]), record]);
  });
  const frames: Uint8Array[] = [];
  for (let i = 0; i < framed.length; i += inFrame) {
    frames.push(new Uint8Array(Buffer.concat(framed.slice(i, i + inFrame))));
  }
  const bytes = frames.reduce((sum, { length }) => sum + length, 0);
  return { frames, count: all.length, bytes, through: all.length };
}

function eventsIn(writer: EventWriter): ReadResp_ReadEvent[] {
  return eventsOf(writer.take()?.bytes ?? Buffer.alloc(0));
}

function eventsOf(all: Buffer): ReadResp_ReadEvent[] {
  const found: ReadResp_ReadEvent[] = [];
  for (let at = 0; at < all.length;) {
    const end = at + 5 + all.readUInt32BE(at + 1);
    const { content } = fromBinary(ReadRespSchema, all.subarray(at + 5, end));
    if (content.case === "event") found.push(content.value);
    at = end;
  }
  return found;
}

const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.string());
const entryKey = fc
  .oneof(text, fc.constantFrom("user", "kurrentdb-metadata", "kurrentdb-x", "$tags", "7"))
  // An object of JavaScript cannot have it.
  .filter((key) => key !== "__proto__");
const fields: fc.Arbitrary<Fields> = fc.record({
  id: fc.uuid(),
  stream: fc.oneof(fc.constant(""), text),
  type: text,
  tags: fc.array(text, { maxLength: 4 }),
  metadata: fc.dictionary(entryKey, text, { maxKeys: 20 }),
  contentType: fc.constantFrom("application/json", "text/plain", "application/a+json", ""),
  data: fc.uint8Array({ maxLength: 300 }),
  version: fc.bigInt(0n, 2n ** 40n),
  position: fc.bigInt(1n, 2n ** 53n - 1n),
  recordedAt: fc.record({
    seconds: fc.oneof(fc.bigInt(1_700_000_000n, 1_800_000_000n), fc.bigInt(0n, 2n ** 33n)),
    nanos: fc.nat(999_999).map((micros) => micros * 1_000),
  }),
  principal: fc.constantFrom("", "ann"),
});

const seconds = ({ recordedAt }: Fields): bigint => recordedAt?.seconds ?? 0n;

function expectedMetadata({ metadata = {}, tags = [] }: Fields): unknown {
  const { "kurrentdb-metadata": own, ...others } = metadata;
  if (own !== undefined) return own;
  if (tags.length === 0 && Object.keys(others).length === 0) return "";
  return tags.length === 0 ? others : { ...others, $tags: tags };
}

test("whatever is in a record is what the generated codec reads", () => {
  fc.assert(
    fc.property(fc.array(fields, { maxLength: 8 }), fc.boolean(), (all, structuredIds) => {
      const writer = new EventWriter({ structuredIds });
      const usual = all.filter(({ stream = "" }) => !stream.startsWith("$"));
      writer.addAll(batchOf(usual.map(recordOf)));
      const found = eventsIn(writer);
      expect(found).toHaveLength(usual.length);
      for (const [i, event] of usual.entries()) {
        const { event: shown, position, link } = found[i] as ReadResp_ReadEvent;
        expect(link).toBeUndefined();
        expect(position.value).toBe(event.position);
        const micros = seconds(event) * 1_000_000n + BigInt((event.recordedAt?.nanos ?? 0) / 1_000);
        const isJson = /^application\/(a\+)?json$/.test(event.contentType ?? "");
        expect(shown?.metadata).toEqual({
          type: event.type,
          "content-type": isJson ? "application/json" : "application/octet-stream",
          created: `${micros}0`,
        });
        expect(Buffer.from(shown?.streamIdentifier?.streamName ?? []).toString()).toBe(
          event.stream,
        );
        const version = event.version ?? 0n;
        expect(shown?.streamRevision).toBe(version > 1n ? version - 1n : 0n);
        expect([shown?.commitPosition, shown?.preparePosition]).toEqual([
          event.position,
          event.position,
        ]);
        expect(Buffer.from(shown?.data ?? [])).toEqual(Buffer.from(event.data ?? []));
        const wanted = expectedMetadata(event);
        const given = Buffer.from(shown?.customMetadata ?? []).toString();
        expect(given).toBe(typeof wanted === "string" ? wanted : JSON.stringify(wanted));
        expect(shown?.id?.value.case).toBe(structuredIds ? "structured" : "string");
        if (!structuredIds) expect(shown?.id?.value.value).toBe(event.id);
      }
    }),
  );
});

const plainText = fc.string({
  unit: fc.constantFrom(..."a b c x y z : - _ é".split(" ")),
  maxLength: 40,
});
const usual: fc.Arbitrary<Fields> = fc.record({
  stream: plainText.map((name) => `s${name}`),
  type: plainText.map((name) => `t${name}`),
  tags: fc.array(plainText, { maxLength: 3 }),
  metadata: fc.oneof(
    fc.dictionary(
      plainText.map((key) => `x${key}`),
      plainText,
      { maxKeys: 4 },
    ),
    fc.record({ "kurrentdb-metadata": fc.string({ minLength: 1, maxLength: 300 }) }),
  ),
  contentType: fc.constantFrom("application/json", ""),
  data: fc.uint8Array({ minLength: 40, maxLength: 300 }),
});

test("usual events are written in one walk, and the same as by fields", () => {
  const place = fc.record({
    version: fc.nat(2 ** 31),
    position: fc.integer({ min: 1, max: 2 ** 40 }),
    micros: fc.integer({ min: 16e14, max: 19e14 }),
    principal: fc.constantFrom("", "ann"),
    traceParent: fc.constantFrom("", "00-1-2-01"),
    hasOwnId: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(usual, place), { maxLength: 6 }), fc.boolean(), (all, ids) => {
      const id = "0a0b0c0d-0e0f-4011-8213-141516171819";
      const frames = all.map(([event, { version, position, micros, hasOwnId, ...added }]) => {
        const body = recordOf(hasOwnId ? event : { ...event, id });
        const ownId = hasOwnId ? id : "";
        return composeFrame(body, version, position, micros, { ...added, ownId });
      });
      const events = new UsualEvents(ids);
      const target = new Words(Buffer.alloc(64 * 1024));
      let at = 0;
      for (const frame of frames) {
        const words = new Words(Buffer.from(frame));
        const reader = new WireReader(words.bytes);
        const end = enterFrame(reader);
        at = events.write(words, reader.offset, end, target, at);
        expect(at).not.toBe(unusual);
      }
      const byFields = new EventWriter({ structuredIds: ids });
      for (const frame of frames) for (const record of recordsIn(frame)) byFields.add(record);
      expect(eventsOf(target.bytes.subarray(0, at))).toEqual(eventsIn(byFields));
    }),
  );
});

test("an event and its link keep their own times and types", () => {
  const at = (time: bigint) => ({ recordedAt: { seconds: time, nanos: 0 } });
  const id = "0a0b0c0d-0e0f-4011-8213-141516171819";
  const event = recordOf({ id, stream: "a", type: "A", position: 1n, ...at(1_700_000_000n) });
  const link = recordOf({ id, stream: "b", type: "$>", position: 2n, ...at(1_700_000_001n) });
  const writer = new EventWriter({ structuredIds: false });
  writer.add(event, link);
  const [found] = eventsIn(writer);
  expect(found?.event?.metadata["created"]).toBe("17000000000000000");
  expect(found?.link?.metadata["created"]).toBe("17000000010000000");
  expect(found?.position.value).toBe(2n);
});

test("a filter passes events of streams that it had forgotten", async () => {
  const context = {} as CallerContext;
  const filter = { by: "stream", pattern: patternOf("1$"), checkpointEvents: 1 } as const;
  const stream = new EventStream(context, { structuredIds: false, resolvesLinks: false, filter });
  const id = "0a0b0c0d-0e0f-4011-8213-141516171819";
  const namesOf = async (names: readonly string[]): Promise<string[]> => {
    const all = names.map((name) => recordOf({ id, stream: name, type: "A", position: 1n }));
    const examined: number[] = [];
    const count = await stream.write(batchOf(all), { onExamined: (at) => examined.push(at) });
    expect(examined).toHaveLength(names.length);
    const found = eventsIn(stream.writer);
    expect(found).toHaveLength(count);
    return found.map(({ event }) =>
      Buffer.from(event?.streamIdentifier?.streamName ?? []).toString(),
    );
  };
  expect(await namesOf(["a1", "a2"])).toEqual(["a1"]);
  // More names than it keeps: with the last ones, it forgets the first.
  await namesOf(Array.from({ length: 19_999 }, (_, i) => `b${i}`));
  expect(await namesOf(["a1", "c1", "a2", "b11"])).toEqual(["a1", "c1", "b11"]);
});
