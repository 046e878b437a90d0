// The life of a store: start, growth, memory and disk.

import { nameCount } from "../load/events.ts";
import type { Form, Probe, RowSpec, Target, Workload } from "../probe.ts";
import { one, unary, reads, figure, count, short } from "./words.ts";

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
  const row = (what: string, title: string, probes: [string, string]): RowSpec => ({
    workload: `growth-${what}-${short(large)}`,
    title: `${title} at ${count(large)} events`,
    unit: "calls/s",
    value: figure(probes[1], "calls/s"),
    limit: [figure(probes[0], "calls/s")],
    against: `the same at ${count(small)} events`,
    ...(target ? { target } : {}),
  });
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
      row("append", "Unary appends to streams in use, 64 at a time", [
        "appendSmall",
        "appendLarge",
      ]),
      row("read-stream", "Stream reads, 8 at a time", ["readSmall", "readLarge"]),
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
