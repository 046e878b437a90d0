// The ids of new events: UUIDv7 (RFC 9562), made here and not by the server, so that an append that
// is sent again is recognised. Ids of one process rise, also where the clock does not.

import { randomUUID } from "node:crypto";

const countMax = 0xfff;
let lastMs = 0;
let count = 0;

/** 48 bits of time, 12 that count within a millisecond, 62 of chance. */
export function newEventId(nowMs = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    count = 0;
  } else if (++count > countMax) {
    lastMs += 1;
    count = 0;
  }
  const time = lastMs.toString(16).padStart(12, "0");
  const counted = count.toString(16).padStart(3, "0");
  // What follows the third dash of a random UUID is the variant and 62 random bits.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${counted}-${randomUUID().slice(19)}`;
}
