// Handlers say for whom they read, or the program does not compile: without a gate, all clients
// would wait for each other at the log's own.
import { expect, test } from "vitest";
import type { Gate } from "../../src/log/scheduling/scheduler.ts";
import type { ServedLog } from "../../src/log/served-log.ts";
import { openLog } from "./harness.ts";

type Asks = (log: ServedLog, gate: Gate) => void;

/** Each is an error of the compiler. */
const refused: readonly Asks[] = [
  // @ts-expect-error no caller
  (log) => log.getStream("s"),
  // @ts-expect-error no caller
  (log) => log.listStreams({ prefix: "", after: "", limit: 1 }),
  // @ts-expect-error no gate
  (log) => log.getSnapshot({ stream: "s", kind: "" }),
  // @ts-expect-error no gate
  (log) => log.read({ selection: { kind: "all" }, direction: "forwards" }, undefined),
  // @ts-expect-error no gate
  (log) => log.groups.get("g", undefined),
  // @ts-expect-error no gate
  (log) => log.append({ events: [], expectations: [], conditions: [], bytes: 0 }, undefined),
  // @ts-expect-error no gate
  (log) => log.lookAhead({ events: [], expectations: [], conditions: [], bytes: 0 }),
];

test("an append is that of its connection, and so is the look-up of its condition", async () => {
  expect(refused).not.toEqual([]);
  const { log } = openLog();
  const passed: string[] = [];
  const gate: Gate = {
    owner: {},
    waitingCount: 0,
    enter: (bytes) => void passed.push(`in ${bytes > 0}`),
    leave: (bytes, spent) => void passed.push(`out ${bytes > 0 && spent !== undefined}`),
  };
  const item = { streams: [], streamPrefixes: [], types: ["T"], tags: [], tagsAny: [] };
  const conditions = [{ query: { items: Array.from({ length: 40 }, () => item) }, after: 0 }];
  await log.append({ events: [], expectations: [], conditions, bytes: 0 }, undefined, { gate });
  expect(passed).toEqual(["in true", "out true"]);
});
