// What is left of a removed event: its words, its place, and by its hash what it held.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contentOf } from "../../../../src/domain/content.ts";
import { removalEvent, chunksRewrittenBy } from "../../../../src/domain/lifecycle/removal-event.ts";
import {
  composeFrame,
  decodeRecord,
  sameContent,
  scanRecord,
  scanRecordedAt,
} from "../../../../src/domain/record.ts";
import {
  composeChunk,
  frameOffsets,
  hashOf,
  openChunk,
  presentHashOf,
  previousHashOf,
  recordOf,
  withFrames,
} from "../../../../src/storage/leveldb/format/chunk.ts";
import { chunkKey, postingKey } from "../../../../src/storage/leveldb/format/keys.ts";
import { composePosting, openPosting } from "../../../../src/storage/leveldb/format/posting.ts";
import {
  composeRemovedRecord,
  isRemovedRecord,
  storedEventOf,
} from "../../../../src/storage/removed-record.ts";
import {
  arbitrarySketch,
  newEvent,
  placeEvents,
  type EventSketch,
} from "../../../support/events.ts";

const nowhere = { position: 0, recordedAt: 0 };

function recordAt(sketch: EventSketch, position: number): Uint8Array {
  return recordOf(composeFrame(newEvent(sketch).body, 3, position, 1_767_225_600_000_001));
}

describe("a removed record", () => {
  test("keeps the words and the place, and nothing of what the event held", () => {
    fc.assert(
      fc.property(arbitrarySketch, fc.integer({ min: 1, max: 2 ** 40 }), (sketch, position) => {
        const secret = "what nobody may read any more";
        const record = recordAt({ ...sketch, metadata: { secret }, data: secret }, position);
        const removedRecord = recordOf(composeRemovedRecord(record, true, 77));
        expect(isRemovedRecord(record)).toBe(false);
        expect(isRemovedRecord(removedRecord)).toBe(true);
        expect(scanRecord(removedRecord)).toEqual(scanRecord(record));
        expect(scanRecordedAt(removedRecord)).toBe(scanRecordedAt(record));
        expect(Buffer.from(removedRecord).includes(secret)).toBe(false);
        const { removed, metadata, data, contentType } = decodeRecord(removedRecord);
        expect(removed?.policyPosition).toBe(77n);
        expect([metadata, contentType, data.length]).toEqual([{}, "", 0]);
      }),
    );
  });

  test("tells what its event held from anything else", () => {
    fc.assert(
      fc.property(arbitrarySketch, arbitrarySketch, (sketch, other) => {
        const record = recordAt(sketch, 9);
        const { didHold } = storedEventOf(recordOf(composeRemovedRecord(record, true, 1)), true);
        for (const { body } of [newEvent(sketch), newEvent(other)]) {
          expect(didHold?.(contentOf(body))).toBe(sameContent(body, record));
        }
        expect(didHold?.(contentOf(record))).toBe(true);
      }),
    );
  });

  test("of the first builds has no hash where the server made the id; it then held nothing known", () => {
    const removedRecord = recordOf(composeRemovedRecord(recordAt({ data: "x" }, 9), false, 1));
    expect(decodeRecord(removedRecord).removed?.contentSha256).toHaveLength(0);
    expect(storedEventOf(removedRecord, false).didHold?.(Buffer.alloc(0))).toBe(false);
    expect(() => storedEventOf(removedRecord, true)).toThrow("has lost its hash");
  });

  test("is not what a client's event without payload looks like", () => {
    const bare = { id: "0190a000-0000-7000-8000-00000000abcd", contentType: "" };
    const full = recordAt({ ...bare, data: "payload" }, 9);
    const removedRecord = recordOf(composeRemovedRecord(full, true, 1));
    const { body } = newEvent(bare);
    const { didHold } = storedEventOf(removedRecord, true);
    // By its fields it would be the same: only the hash tells.
    expect(sameContent(body, removedRecord)).toBe(true);
    expect(didHold?.(contentOf(body))).toBe(false);
  });
});

describe("a chunk whose space was reclaimed", () => {
  const events = placeEvents(
    ["a", "b", "a"].map((stream, i) =>
      newEvent({ stream, data: `payload ${i}`, idFromClient: i !== 1 }),
    ),
    nowhere,
    new Map(),
    5,
  );
  const chunk = composeChunk(events, 5, Buffer.alloc(32, 7));
  const frames = events.map(({ frame, idFromClient }, i) =>
    i === 1 ? frame : composeRemovedRecord(recordOf(frame), idFromClient, 1),
  );
  const rewritten = withFrames(chunk, frames, {
    recordedIn: 4,
    originalHash: hashOf(chunk),
    isEmptied: false,
  });

  test("says so, and stands in the chain with the hash it had", () => {
    const opened = openChunk(chunkKey(3), rewritten.value);
    expect(opened.reclaimed).toEqual({
      recordedIn: 4,
      originalHash: hashOf(chunk),
      isEmptied: false,
    });
    expect(hashOf(opened)).toEqual(hashOf(chunk));
    expect(presentHashOf(opened)).not.toEqual(hashOf(chunk));
    expect(previousHashOf(opened)).toEqual(Buffer.alloc(32, 7));
    expect(opened.idsFromClient).toEqual(chunk.idsFromClient);
    expect([...frameOffsets(opened)]).toHaveLength(4);
    expect(Buffer.from(opened.records)).toEqual(Buffer.concat(frames));
    // Rewritten again, it still has the hash it had at first.
    const again = withFrames(opened, frames, {
      recordedIn: 9,
      originalHash: hashOf(opened),
      isEmptied: false,
    });
    expect(hashOf(again)).toEqual(hashOf(chunk));
  });

  test("is refused with any bit flipped", () => {
    for (let bit = 0; bit < rewritten.value.length * 8; bit++) {
      const corrupted = Buffer.from(rewritten.value);
      corrupted[bit >> 3] = (corrupted[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => openChunk(chunkKey(3), corrupted), `bit ${bit}`).toThrow("fails its CRC");
    }
  });
});

test("a posting with removed records has their number instead of records", () => {
  const key = postingKey(128, 40);
  const value = composePosting(
    key,
    { first: 31, count: 10 },
    { before: 5, ordinals: [0, 1, 7], removedRecords: 2 },
  );
  expect(openPosting(key, value)).toEqual({
    chunkFirst: 31,
    chunkLast: 40,
    before: 5,
    ordinals: [0, 1, 7],
    previous: 0,
    streams: [],
    records: Buffer.alloc(0),
    removedRecords: 2,
  });
});

describe("the record of a removal", () => {
  const sha256 = Buffer.alloc(32, 9);
  const streams = [{ stream: "a", events: 2, before: 4, policy: 3 }];
  const removal = { chunks: [{ first: 1, last: 3, sha256 }], events: 2, bytes: 100, streams };
  const { body } = removalEvent(removal);
  const record = recordOf(composeFrame(body, 1, 4, 5));

  test("says what the chunks are since", () => {
    expect(chunksRewrittenBy(record)).toEqual(new Map([[3, new Uint8Array(sha256)]]));
    expect(JSON.parse(Buffer.from(decodeRecord(record).data).toString())).toEqual({
      chunks: [[1, 3, sha256.toString("base64")]],
      events: 2,
      bytes: 100,
      streams,
      streamCount: 1,
    });
  });

  test("is not any other event", () => {
    expect(() => chunksRewrittenBy(recordAt({ stream: "$removals", data: "{}" }, 4))).toThrow(
      "not the record of a removal",
    );
  });
});
