import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { annalsCalls } from "../../bench/load/annals-calls.ts";
import { EventCounter, framed, MessageReader } from "../../bench/load/messages.ts";
import { umadbCalls } from "../../bench/load/umadb-calls.ts";
import { ReadResponseSchema } from "../../src/gen/annals/v1/read_pb.js";

/** Cuts bytes into the pieces that the lengths ask for, the rest at the end. */
function parts(bytes: Buffer, lengths: readonly number[]): [Buffer, number, number][] {
  const cuts: [Buffer, number, number][] = [];
  let at = 0;
  for (const length of lengths) {
    const end = Math.min(bytes.length, at + length);
    if (end > at) cuts.push([bytes, at, end]);
    at = end;
  }
  if (at < bytes.length) cuts.push([bytes, at, bytes.length]);
  return cuts;
}

const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 100 });

test("events are counted however the bytes are cut", () => {
  const sizes = fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.array(sizes, { minLength: 1, maxLength: 6 }), lengths, (batches, cuts) => {
      const messages = batches.map((payloads) => {
        const events = payloads.map((size) => ({ type: "T", data: Buffer.alloc(size, 7) }));
        const value = { events };
        return create(ReadResponseSchema, { message: { case: "batch", value } });
      });
      const end = { head: 7n, after: 7n, eventCount: 1n, streamVersion: 0n };
      messages.push(create(ReadResponseSchema, { message: { case: "end", value: end } }));
      const bytes = Buffer.concat(messages.map((m) => framed(toBinary(ReadResponseSchema, m))));
      const perMessage: number[] = [];
      const others: number[] = [];
      const counter = new EventCounter({
        inBatch: true,
        message: (count) => void perMessage.push(count),
        other: (field) => void others.push(field),
      });
      for (const piece of parts(bytes, cuts)) counter.received(...piece);
      expect(counter.events).toBe(batches.flat().length);
      expect(perMessage).toEqual([...batches.map((batch) => batch.length), 0]);
      expect(others).toEqual([2]);
    }),
  );
});

test("messages are put together however the bytes are cut", () => {
  const contents = fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(contents, lengths, (messages, cuts) => {
      const bytes = Buffer.concat(messages.map((message) => framed(message)));
      const read: Buffer[] = [];
      const reader = new MessageReader((message) => void read.push(Buffer.from(message)));
      for (const piece of parts(bytes, cuts)) reader.received(...piece);
      expect(read.map((message) => [...message])).toEqual(messages.map((m) => [...m]));
    }),
  );
});

test("the payload of a received event is found in both protocols", () => {
  const preload = { verb: "preload", events: 1, from: 0, total: 100 } as const;
  const annals = Buffer.from(annalsCalls.call(preload, 0)?.request(0) ?? []).subarray(5);
  // An AppendRequest holds its event in field 2: tag, length of two bytes, event.
  expect(Buffer.from(annalsCalls.payloadOf(annals.subarray(3)) ?? []).toString()).toMatch(/^{"at"/);
  const umadb = Buffer.from(umadbCalls.call(preload, 0)?.request(0) ?? []).subarray(5);
  const event = umadb.subarray(3);
  const length = Buffer.from([0x12, (event.length & 0x7f) | 0x80, event.length >> 7]);
  const sequenced = Buffer.concat([Buffer.from([0x08, 1]), length, event]);
  expect(Buffer.from(umadbCalls.payloadOf(sequenced) ?? []).toString()).toMatch(/^{"at"/);
});
