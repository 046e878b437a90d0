// The second conversation: what a client's HTTP/2 and gRPC make of ours, where `conversation.ts` asks
// what the contract means. A client takes ANNALS_ADDRESS and the numbers below from its environment,
// prints a JSON line for each step and exits with 0. In the last step it prints `RESTART`, and a line
// on its standard input tells that the server is back.

import type { Facts, Step } from "./conversation.ts";

/** What a client is told, by the name of its variable. */
export interface WireNumbers {
  /** Subscriptions that are open at once, on one connection. */
  readonly WIRE_STREAMS: number;
  /** Metadata in fields of 1,000 bytes: so many are taken, and so many are not. */
  readonly WIRE_FIELDS_TAKEN: number;
  readonly WIRE_FIELDS_REFUSED: number;
}

/** The server takes 64 KiB of headers, as RFC 9113 counts them: with 32 bytes for each field. */
export const usualNumbers: WireNumbers = {
  WIRE_STREAMS: 5_000,
  WIRE_FIELDS_TAKEN: 61,
  WIRE_FIELDS_REFUSED: 70,
};

/** As clients see them: `google.rpc.Code`. */
export const code = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  resourceExhausted: 8,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
};

const conflict = { code: code.aborted, reason: "APPEND_CONFLICT", actual: 1 };

/** With a server that has its usual limits, and nothing between it and the client. */
const wireConversation: readonly Step[] = [
  {
    step: "conflict",
    does: "appends event 1 to wire-1, expected at 0; appends event 2, expected at 0 as well",
    facts: { position: 1, conflict },
  },
  {
    step: "retry",
    does: "sends the first append again",
    facts: { position: 1, deduplicated: true },
  },
  {
    step: "unknown",
    does: "calls a method that the service does not have",
    facts: { code: code.unimplemented },
  },
  {
    step: "gzip",
    does: "appends an event of 1 MiB with gzip, accepts gzip, reads it back",
    facts: { position: 2, bytes: 1024 * 1024 },
  },
  {
    step: "large",
    does: "appends events of 3,140,000 and 940,000 bytes in one message, reads them back",
    facts: { lengths: [3_140_000, 940_000] },
  },
  {
    step: "early",
    does: "appends an event of 9 MiB, which is refused at its first bytes; then a small one",
    facts: { code: code.resourceExhausted, position: 5 },
  },
  {
    step: "pipe",
    does: "sends three appends to wire-2 down a pipe, the second at the wrong version; half-closes",
    facts: { codes: [code.ok, code.aborted, code.ok], end: code.ok },
  },
  {
    step: "turns",
    does: "sends appends down a pipe, each after the answer to the last; cancels the pipe",
    facts: { answers: 20, end: code.cancelled },
  },
  {
    step: "live",
    does: "follows wire-3 until caught up, appends, gets the event; cancels, and is forgotten",
    facts: { live: 1, end: code.cancelled, subscribers: [1, 0] },
  },
  {
    step: "deadline",
    does: "follows wire-4, which has no events, with a deadline of one second",
    facts: { end: code.deadlineExceeded },
  },
  {
    step: "metadata",
    does: "calls with as much metadata as is taken, with more, and with none again",
    facts: { taken: code.ok, refused: code.resourceExhausted, after: code.ok },
  },
  {
    step: "streams",
    does: "follows wire-5 with many calls on one connection, appends, gets it in each, cancels all",
    facts: { open: 5_000, live: 5_000, left: 0 },
  },
  {
    step: "restart",
    does: "appends on and on, with the same id until it is answered, while the server restarts",
    facts: {
      end: { code: code.unavailable, reason: "STOPPING" },
      // Codes of attempts, beside OK and UNAVAILABLE.
      others: [],
      // All that was acknowledged is there, once and in order.
      isWhole: true,
    },
  },
];

/** The steps with what is other for one client, or behind one proxy. */
export function expectedOf(
  numbers: WireNumbers,
  ...differences: readonly Readonly<Record<string, Facts>>[]
): Facts[] {
  const { WIRE_STREAMS: count } = numbers;
  const counted: Record<string, Facts> = { streams: { open: count, live: count } };
  return wireConversation.map(({ step, facts }) => {
    const own = [counted, ...differences].map((each) => each[step]);
    return Object.assign({ step, ok: true }, facts, ...own) as Facts;
  });
}
