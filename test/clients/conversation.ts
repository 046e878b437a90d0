// The conversation every client holds with a server of its own, and what it must find: one list
// for all languages. A client takes the server's address from ANNALS_ADDRESS, prints a JSON line
// per step (`{"step":"append","ok":true, ...facts}`) and exits with 0. In the last step it
// prints `RESTART` and waits for a line on standard input, which comes once the server was
// stopped and is back.

export type Facts = Readonly<Record<string, unknown>>;

export interface Step {
  readonly step: string;
  /** In a few words, what the client does. The languages' sources say it exactly. */
  readonly does: string;
  readonly facts: Facts;
}

/** google.rpc.Code, as it is on the wire. */
const code = {
  cancelled: 1,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  failedPrecondition: 9,
  aborted: 10,
  unavailable: 14,
};

const domain = "annals";
const first = { positions: [1, 2], versions: { "order-1": [1, 2] } };

export const conversation: readonly Step[] = [
  {
    step: "append",
    does: "appends OrderPlaced and OrderPaid to order-1, expecting version 0, with ids of its own",
    facts: { ...first, deduplicated: false },
  },
  {
    step: "conflict",
    does: "expects two streams to be what they are not, under a condition that does not hold",
    facts: {
      code: code.aborted,
      domain,
      reason: "APPEND_CONFLICT",
      actual_versions: { "order-1": 2, "order-9": 0 },
      condition_position: 1,
    },
  },
  {
    step: "retry",
    does: "sends the first append again, byte for byte, though its expectation no longer holds",
    facts: { ...first, deduplicated: true },
  },
  {
    step: "id_conflict",
    does: "sends the first event's id with another payload",
    facts: {
      code: code.alreadyExists,
      domain,
      reason: "EVENT_ID_CONFLICT",
      id_positions: [1],
      problem: "EVENT_ID_PROBLEM_OTHER_CONTENT",
    },
  },
  {
    step: "two_streams",
    does: "appends to order-2, expected absent, and to order-1, expected at 2, in one append",
    facts: {
      positions: [3, 4],
      versions: { "order-2": [1, 1], "order-1": [3, 3] },
      deduplicated: false,
    },
  },
  {
    step: "pipe",
    does: "sends three appends to pipe-1 down one call; the second expects the wrong version",
    facts: {
      outcomes: [
        { sequence: 1, position: 5 },
        {
          sequence: 2,
          code: code.aborted,
          domain,
          reason: "APPEND_CONFLICT",
          actual_versions: { "pipe-1": 1 },
        },
        { sequence: 3, position: 6 },
      ],
    },
  },
  {
    step: "read_forwards",
    does: "reads order-1; `end` is head, after, event_count, stream_version",
    facts: {
      versions: [1, 2, 3],
      types: ["OrderPlaced", "OrderPaid", "OrderShipped"],
      id: "00000000-0000-4000-8000-000000000001",
      data: '{"total":10}',
      user: "ada",
      content_type: "application/json",
      tags: ["customer:c1"],
      recorded: true,
      end: [6, 6, 3, 3],
    },
  },
  {
    step: "read_backwards",
    does: "reads the last three events of the store, backwards",
    facts: { positions: [6, 5, 4], head: 6 },
  },
  {
    step: "query",
    does: "reads events of type OrderPlaced with tag customer:c1, or of stream order-2",
    facts: { positions: [1, 3], after: 6 },
  },
  {
    step: "snapshot",
    does: "saves a snapshot at 2 and gets it; saves one beyond the stream; gets one that is not",
    facts: {
      position: 2,
      version: 2,
      data: '{"status":"paid"}',
      beyond: { code: code.failedPrecondition, domain, reason: "SNAPSHOT_BEYOND_STREAM" },
      missing: { code: code.notFound, domain, reason: "SNAPSHOT_NOT_FOUND" },
    },
  },
  {
    step: "load",
    does: "loads order-1: the snapshot and the event after it",
    facts: { snapshot_version: 2, versions: [3], version: 3, head: 6 },
  },
  {
    step: "subscribe",
    does: "follows order-1 to caught_up, appends, gets that event live, cancels, is forgotten",
    facts: {
      history: [1, 2, 3],
      caught_up: 6,
      live: [7],
      code: code.cancelled,
      subscribers: [1, 0],
    },
  },
  {
    step: "deadline",
    does: "follows a stream without events, with a deadline of two seconds",
    facts: { caught_up: 7, code: code.deadlineExceeded },
  },
  {
    step: "large",
    does: "appends an event of 2 MiB and reads it back, with default message limits",
    facts: { position: 8, bytes: 2 * 1024 * 1024, equal: true },
  },
  {
    step: "restart",
    does: "follows everything after 7 through a restart; retries, appends, resumes after 8",
    facts: {
      seen: [8],
      ended: { code: code.unavailable, domain, reason: "STOPPING" },
      retried: { ...first, deduplicated: true },
      resumed: [9, 10],
    },
  },
];
