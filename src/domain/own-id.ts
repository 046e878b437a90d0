// The ids that the store gives to events whose client chose none: UUIDs of version 7 (RFC 9562,
// section 5.7) that hold the event's position. An id that a client sends is found in the log by
// that position, without an entry in the index.
//
//   48 bits  milliseconds since 1970 at which the event was recorded     4  version: 7
//   12 bits  of chance                                                   2  variant
//    9 bits  of chance                                                  53  position
//
// Chance keeps the ids of different stores apart, also where one is imported into another, and
// makes ids to come hard to guess.

const lowerChanceBits = 12;
/** Bits of the position above its lower 32. */
const upperPositionBits = 21;
const lowerPosition = 2 ** 32;

/** Chance is a whole number below this. */
export const idChances = 2 ** 21;

/** `recordedAt` is microseconds since 1970, UTC. */
export function ownId(chance: number, position: number, recordedAt: number): string {
  const time = hex(Math.floor(recordedAt / 1_000), 12);
  const lower = hex(0x7000 | (chance & (2 ** lowerChanceBits - 1)), 4);
  const upper = chance >>> lowerChanceBits;
  // The variant and the upper two bits; then seven bits and the position.
  const variant = hex(0x8 | (upper >>> 7), 1);
  const above = (upper & 0x7f) * 2 ** upperPositionBits + Math.floor(position / lowerPosition);
  const rest = hex(above, 7) + hex(position % lowerPosition, 8);
  const tail = `${variant}${rest.slice(0, 3)}-${rest.slice(3)}`;
  return `${time.slice(0, 8)}-${time.slice(8)}-${lower}-${tail}`;
}

/** The position that an id of version 7 holds, if the store made it; any number if it did not. */
export function positionInId(id: string): number {
  if (id[14] !== "7") return 0;
  const above = Number.parseInt(id.slice(20, 23) + id.slice(24, 28), 16) % 2 ** upperPositionBits;
  return above * lowerPosition + Number.parseInt(id.slice(28), 16);
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
