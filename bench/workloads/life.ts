// The life of a store: start, growth, memory and disk.

import { commonType, nameCount } from "../load/events.ts";
import type { Part } from "../load/job.ts";
import type { Form, Probe, RowSpec, Target, Workload } from "../probe.ts";
import { hundred, one, unary, reads, pipe, followers, figure, count, short } from "./words.ts";

export function starts(events: number, form: Form): Workload {
  const size = count(events);
  const name = (after: string) => `start-after-${after}-${short(events)}`;
  return {
    name: `start-${short(events)}`,
    form,
    probes: {
      stop: { at: "start", events, after: "stop" },
      kill: { at: "start", events, after: "kill" },
      bare: { at: "bare-start" },
    },
    rows: [
      {
        workload: name("stop"),
        title: `Start to serving after a clean stop, ${size} events`,
        unit: "s",
        value: figure("stop", "seconds"),
        limit: [figure("bare", "seconds")],
        against: "a Node process that loads grpc-js and listens",
        target: { of: "value", atMost: 1 },
      },
      {
        workload: name("kill"),
        title: `Start to serving after a kill during appends, ${size} events`,
        unit: "s",
        value: figure("kill", "seconds"),
        limit: [figure("bare", "seconds")],
        against: "a Node process that loads grpc-js and listens",
        target: { of: "value", atMost: 5 },
      },
    ],
  };
}

/** Until every stream that is appended to was used once, and the preloaded data is compacted. */
const settleMs = 15_000;

export function growth(small: number, large: number, form: Form, target?: Target): Workload {
  const appendsAt = (events: number): Probe => ({
    at: "product",
    store: { events, written: true },
    parts: [unary(one, 64)],
    settleMs,
  });
  const readsAt = (events: number): Probe => ({
    at: "product",
    store: { events },
    parts: [reads({ verb: "read-stream", streams: nameCount(events) }, 8, { expectEvents: 10 })],
    settleMs,
  });
  const rowsOf = (what: string, title: string, probes: [string, string]): RowSpec[] => {
    const against = `the same at ${count(small)} events`;
    const rate: RowSpec = {
      workload: `growth-${what}-${short(large)}`,
      title: `${title} at ${count(large)} events`,
      unit: "calls/s",
      value: figure(probes[1], "calls/s"),
      limit: [figure(probes[0], "calls/s")],
      against,
      ...(target ? { target } : {}),
    };
    // Other work on the machine disturbs it less.
    const cpu: RowSpec = {
      workload: `growth-${what}-cpu-${short(large)}`,
      title: `${title} at ${count(large)} events: CPU of a call`,
      unit: "us",
      value: figure(probes[1], "us CPU/call"),
      limit: [figure(probes[0], "us CPU/call")],
      against,
    };
    return [rate, cpu];
  };
  return {
    name: `growth-${short(large)}`,
    form,
    probes: {
      readSmall: readsAt(small),
      readLarge: readsAt(large),
      appendSmall: appendsAt(small),
      appendLarge: appendsAt(large),
    },
    rows: [
      ...rowsOf("append", "Unary appends to streams in use, 64 at a time", [
        "appendSmall",
        "appendLarge",
      ]),
      ...rowsOf("read-stream", "Stream reads, 8 at a time", ["readSmall", "readLarge"]),
    ],
  };
}

export function footprint(events: number): Workload {
  return {
    name: "footprint",
    form: "quick",
    probes: {
      idle: { at: "idle", store: { events } },
      disk: { at: "disk", events },
    },
    rows: [
      {
        workload: "rss-idle",
        title: `Memory of an idle server over ${count(events)} events`,
        unit: "MB",
        value: figure("idle", "MB"),
        target: { of: "value", atMost: 120 },
      },
      {
        workload: "disk",
        title: "Disk, compressible payloads of 256 bytes, index and checks included",
        unit: "bytes per payload byte",
        value: figure("disk", "bytes per payload byte"),
        target: { of: "value", atMost: 2 },
      },
    ],
  };
}

/**
 * All kinds of calls at once, at rates that leave the server some room, so that every run has as
 * many of each: some 3,000 events/s.
 */
export function soak(events: number): Workload {
  const names = nameCount(events);
  const [streams, tags] = [names, names];
  const parts: Part[] = [
    followers(10),
    unary(one, 32, { perSecond: 400 }),
    pipe(hundred, 8, { perSecond: 25 }),
    unary({ verb: "append-expecting-version", group: 0 }, 16, { perSecond: 100 }),
    reads({ verb: "read-stream", streams, zipf: true }, 16, { perSecond: 400 }),
    reads({ verb: "read-stream", streams }, 8, { perSecond: 50 }),
    reads({ verb: "read-tag", tags }, 8, { perSecond: 50 }),
    reads({ verb: "read-type", type: commonType }, 1, { perSecond: 0.05 }),
    reads({ verb: "read-all" }, 1, { perSecond: 0.05 }),
    { ...unary(one, 8, { perSecond: 50 }), client: "http" },
  ];
  return {
    name: "soak",
    form: "long",
    probes: { product: { at: "soak", store: { events, written: true }, parts } },
    rows: [
      {
        workload: "soak-memory",
        title: "A mixed load of 15 minutes: memory that no file backs, at most",
        unit: "MB",
        value: figure("product", "MB"),
        target: { of: "value", atMost: 250 },
      },
      {
        workload: "soak-memory-after",
        title: "The same two minutes later",
        unit: "MB",
        value: figure("product", "MB after"),
        target: { of: "value", atMost: 150 },
      },
    ],
  };
}
