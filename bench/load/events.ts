// The events of every load: names, and payloads of 256 bytes of JSON that compress like real ones.
// Event n of a preloaded store of `total` events belongs to stream n * 48271 and has the tag
// n * 69621 + 7, both modulo total / 10: ten events each, spread over the whole log.

export const payloadBytes = 256;
/** Room for a time in microseconds at the beginning of a payload. */
export const timeDigits = 16;
export const timeOffset = 7;
const eventsPerName = 10;
const commonTypes = 10;
const rareEvery = 10_000;

export const commonType = "Posted-0";
export const rareType = "Posted-r";
export const contentType = "application/json";

/** The number of streams, and of tags, of a preloaded store of `total` events. */
export function nameCount(total: number): number {
  return Math.max(1, Math.floor(total / eventsPerName));
}

export function streamOf(n: number, total: number): number {
  return (n * 48_271) % nameCount(total);
}

export function tagOf(n: number, total: number): number {
  return (n * 69_621 + 7) % nameCount(total);
}

/**
 * The last character of event n's type. There are ten common types, and one event in ten thousand
 * has a rare one.
 */
export function typeOf(n: number): string {
  return n % rareEvery === 0 ? "r" : String(n % commonTypes);
}

/** The numbers of streams or tags, each in turn, in the same order in every run. */
export function inTurn(count: number): () => number {
  let n = 0;
  return () => streamOf(n++, count * eventsPerName);
}

/** The same, the most frequent one `count` times as often as the least frequent one. */
export function zipf(count: number): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return streamOf(Math.floor(count ** (state / 2 ** 32)) - 1, count * eventsPerName);
  };
}

/** The second tag of a pair. */
export function otherTag(tag: number, tags: number): number {
  return (tag * 7 + 13) % tags;
}

/** The same bytes in every run. */
export function randomHex(seed: number): (digits: number) => string {
  let state = seed * 2_654_435_761 + 1;
  return (digits) => {
    let text = "";
    while (text.length < digits) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      text += (state >>> 8).toString(16).padStart(6, "0");
    }
    return text.slice(0, digits);
  };
}

/** The beginning of ids that differ from run to run: eight digits are missing. */
export function idPrefix(): string {
  const hex = randomHex(Date.now() % 1e9)(20);
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(12, 15)}`,
    `8${hex.slice(15, 18)}`,
  ];
  return `${parts.join("-")}-${hex.slice(18, 20)}00`;
}

/** The metadata of a plain event: one text, in JSON. */
export function plainMetadata(user: string, seed: number): string {
  return JSON.stringify({ user: `clerk-${user}`, correlation: randomHex(seed + 7)(16) });
}

/** An accounting entry, a third of which differs from event to event. */
export function payload(seed: number): Buffer {
  const hex = randomHex(seed);
  const amount = Number.parseInt(hex(5), 16) / 100;
  const text = JSON.stringify({
    at: "0".repeat(timeDigits),
    entry: hex(24),
    account: { number: hex(12), branch: "0042" },
    amount: amount.toFixed(2),
    currency: "EUR",
    counterparty: hex(16),
    reference: `invoice ${hex(10)}`,
    note: "",
  });
  const filler = "settled by the monthly run ".repeat(4);
  const room = payloadBytes - Buffer.byteLength(text);
  return Buffer.from(text.replace(/"note":""/, `"note":"${filler.slice(0, room)}"`));
}
