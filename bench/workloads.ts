// Every workload, as data. Each names its limit and measures it beside the product. Sizes follow
// the scale: at scale 1 the preloaded store has a million events in 100,000 streams of ten, with
// 100,000 tags of ten events each.

import { nameCount, rareType, commonType } from "./load/events.ts";
import type { CallsPart, CallSpec, FollowPart, Part, PipePart } from "./load/job.ts";
import type { Form, Pick, Probe, RowSpec, Target, Workload } from "./probe.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
/** Streams that unconditional appends are spread over. */
const streams = 10_000;
const grpcDefaultWindowBytes = 65_535;
/** A stand-in for a read that is answered in one message. */
const unaryPath = "/annals.v1.EventStoreService/GetStream";

const one = { verb: "append", events: 1, streams } as const satisfies CallSpec;
const hundred: CallSpec = { verb: "append", events: 100, streams };
const timedTen: CallSpec = { verb: "append", events: 10, streams, timed: true };

const noopUnary = "grpc-js no-op, unary, the same sizes";
const noopBidi = "grpc-js no-op, bidi, the same sizes";
const noopStream = "grpc-js streaming the same bytes";
const rawChunks = "classic-level, raw chunks, 1,000 events a synced batch";

function unary(call: CallSpec, concurrency: number, more: Partial<CallsPart> = {}): CallsPart {
  const connections = Math.min(4, concurrency);
  return { kind: "calls", call, concurrency, connections, unary: true, ...more };
}

function reads(call: CallSpec, concurrency: number, more: Partial<CallsPart> = {}): CallsPart {
  return { ...unary(call, concurrency), unary: false, ...more };
}

function pipe(call: CallSpec, window: number, more: Partial<PipePart> = {}): PipePart {
  return { kind: "pipe", call, window, connections: 1, ...more };
}

function followers(subscribers: number, more: Partial<FollowPart> = {}): FollowPart {
  const call: CallSpec = { verb: "subscribe-all" };
  return { kind: "follow", call, subscribers, connections: Math.min(4, subscribers), ...more };
}

function onEmpty(...parts: Part[]): Probe {
  return { at: "product", store: "empty", parts };
}

function noop(parts: readonly Part[], messageBytes?: number): Probe {
  const sized = messageBytes === undefined ? {} : { messageBytes };
  return { at: "noop", parts, like: "product", ...sized };
}

const product = (of: Pick["of"], part?: number): Pick => figure("product", of, part);
const limit = (of: Pick["of"], part?: number): Pick => figure("limit", of, part);

function figure(probe: string, of: Pick["of"], part?: number): Pick {
  return part === undefined ? { probe, of } : { probe, of, part };
}

const ratioAtLeast = (atLeast: number): Target => ({ of: "ratio", atLeast });
const ratioAtMost = (atMost: number): Target => ({ of: "ratio", atMost });

/** The commonest shape: a load on the product, the same load on a no-op. */
function besideNoop(
  row: Omit<RowSpec, "value" | "limit" | "unit">,
  form: Form,
  parts: { readonly product: Probe; readonly noop: readonly Part[] },
  of: "events/s" | "calls/s",
): Workload {
  return {
    name: row.workload,
    form,
    probes: { product: parts.product, limit: noop(parts.noop) },
    rows: [{ ...row, unit: of, value: product(of), limit: [limit(of)] }],
  };
}

function unaryAppends(concurrency: number, target?: Target): Workload {
  const parts = [unary(one, concurrency)];
  const row = {
    workload: `append-unary-c${concurrency}`,
    title: `Unary durable append of one event, ${concurrency} at a time`,
    against: noopUnary,
    ...(target ? { target } : {}),
  };
  return besideNoop(row, "quick", { product: onEmpty(...parts), noop: parts }, "calls/s");
}

const appends: readonly Workload[] = [
  {
    name: "append-unary-c1",
    form: "quick",
    probes: {
      product: onEmpty(unary(one, 1)),
      limit: noop([unary(one, 1)]),
      sync: { at: "sync", bytes: 4 * KiB },
    },
    rows: [
      {
        workload: "append-unary-c1",
        title: "Unary durable append of one event, one at a time: p50",
        unit: "ms",
        value: product("p50"),
        limit: [limit("p50"), { probe: "sync", of: "p50" }],
        against: "no-op p50 + fdatasync p50 (4 KiB)",
        target: ratioAtMost(1.5),
      },
    ],
  },
  unaryAppends(8),
  unaryAppends(64, ratioAtLeast(0.85)),
  unaryAppends(256, ratioAtLeast(0.85)),
  besideNoop(
    {
      workload: "append-unary-ids-c64",
      title: "Unary durable append of one event with an id of the client's, 64 at a time",
      against: noopUnary,
    },
    "full",
    {
      product: onEmpty(unary({ ...one, ids: true }, 64)),
      noop: [unary({ ...one, ids: true }, 64)],
    },
    "calls/s",
  ),
  {
    name: "append-pipe-1",
    form: "quick",
    probes: {
      product: onEmpty(pipe(one, 1_024)),
      limit: noop([pipe(one, 1_024)]),
      unary: onEmpty(unary(one, 64)),
    },
    rows: [
      {
        workload: "append-pipe-1",
        title: "AppendStream, one event an append",
        unit: "events/s",
        value: product("events/s"),
        limit: [limit("events/s")],
        against: noopBidi,
        target: ratioAtLeast(0.7),
      },
      {
        workload: "append-pipe-1-over-unary",
        title: "AppendStream, one event an append, against unary appends",
        unit: "events/s",
        value: product("events/s"),
        limit: [figure("unary", "events/s")],
        against: "unary appends, 64 at a time",
        target: ratioAtLeast(2.5),
      },
    ],
  },
  {
    name: "append-pipe-100",
    form: "quick",
    probes: {
      product: onEmpty(pipe(hundred, 64)),
      limit: { at: "level", events: 1_000 },
      bidi: noop([pipe(hundred, 64)]),
    },
    rows: [
      {
        workload: "append-pipe-100",
        title: "AppendStream, 100 events an append",
        unit: "events/s",
        value: product("events/s"),
        limit: [limit("events/s")],
        against: rawChunks,
        target: ratioAtLeast(0.6),
      },
      {
        workload: "append-pipe-100-over-bidi",
        title: "AppendStream, 100 events an append, against the transport",
        unit: "events/s",
        value: product("events/s"),
        limit: [figure("bidi", "events/s")],
        against: noopBidi,
      },
    ],
  },
  {
    name: "append-unary-100",
    form: "quick",
    probes: { product: onEmpty(unary(hundred, 8)), limit: { at: "level", events: 1_000 } },
    rows: [
      {
        workload: "append-unary-100",
        title: "Unary durable append of 100 events, 8 at a time",
        unit: "events/s",
        value: product("events/s"),
        limit: [limit("events/s")],
        against: rawChunks,
      },
    ],
  },
];

function conditional(events: number): readonly Workload[] {
  const store = { events, written: true };
  const at = (call: CallSpec): Probe => ({ at: "product", store, parts: [unary(call, 64)] });
  const names = nameCount(events);
  const besidePlain = (
    workload: string,
    title: string,
    call: CallSpec,
    target?: Target,
  ): Workload => ({
    name: workload,
    form: "quick",
    probes: { product: at(call), plain: at({ verb: "append", events: 1, streams: names }) },
    rows: [
      {
        workload,
        title,
        unit: "calls/s",
        value: product("calls/s"),
        limit: [figure("plain", "calls/s")],
        against: "unconditional appends to the same store",
        ...(target ? { target } : {}),
      },
    ],
  });
  return [
    besidePlain(
      "append-dcb",
      "Append on a DCB condition (tag and type), 64 at a time",
      { verb: "append-on-condition", tags: names },
      ratioAtLeast(0.8),
    ),
    besidePlain("append-expecting-version", "Append expecting a version, 64 at a time", {
      verb: "append-expecting-version",
      group: 0,
    }),
  ];
}

function readsOf(events: number): readonly Workload[] {
  const names = nameCount(events);
  const on = (...parts: Part[]): Probe => ({ at: "product", store: { events }, parts });
  const all = (windowBytes: number) => [reads({ verb: "read-all" }, 1, { windowBytes })];
  const readEverything = (name: string, title: string, windowBytes: number, target?: Target) =>
    besideNoop(
      { workload: name, title, against: noopStream, ...(target ? { target } : {}) },
      "quick",
      { product: on(...all(windowBytes)), noop: all(windowBytes) },
      "events/s",
    );
  const large = readEverything(
    "read-all-4mib",
    "Read everything, the client opens a window of 4 MiB",
    4 * MiB,
    ratioAtLeast(0.8),
  );
  const small = (row: Omit<RowSpec, "value" | "limit" | "unit">, call: CallSpec, hits: number) =>
    besideNoop(
      row,
      "quick",
      {
        product: on(reads(call, 8, { expectEvents: hits })),
        noop: [unary(call, 8, { path: unaryPath })],
      },
      "calls/s",
    );
  return [
    readEverything(
      "read-all",
      "Read everything, a client with gRPC's default window",
      grpcDefaultWindowBytes,
      ratioAtLeast(0.8),
    ),
    {
      ...large,
      rows: [
        ...large.rows,
        {
          workload: "read-all-rate",
          title: "Read everything, the client opens a window of 4 MiB: rate",
          unit: "events/s",
          value: product("events/s"),
          target: { of: "value", atLeast: 1_500_000 },
        },
      ],
    },
    small(
      {
        workload: "read-stream",
        title: `Read a stream of 10 events among ${count(events)}, 8 at a time`,
        against: "grpc-js no-op, unary, the same response size",
        target: ratioAtLeast(0.7),
      },
      { verb: "read-stream", streams: names },
      10,
    ),
    small(
      {
        workload: "query-tag",
        title: `Query by tag, 10 hits among ${count(events)}, 8 at a time`,
        against: "grpc-js no-op, unary, the same response size",
        target: ratioAtLeast(0.6),
      },
      { verb: "read-tag", tags: names },
      10,
    ),
    besideNoop(
      {
        workload: "query-type-common",
        title: "Query by a type that one event in ten has",
        against: noopStream,
      },
      "quick",
      {
        product: on(reads({ verb: "read-type", type: commonType }, 1)),
        noop: [reads({ verb: "read-type", type: commonType }, 1)],
      },
      "events/s",
    ),
    besideNoop(
      {
        workload: "query-type-rare",
        title: "Query by a type that one event in 10,000 has, 8 at a time",
        against: noopStream,
      },
      "quick",
      {
        product: on(reads({ verb: "read-type", type: rareType }, 8)),
        noop: [reads({ verb: "read-type", type: rareType }, 8)],
      },
      "events/s",
    ),
  ];
}

function fanOut(subscribers: number): Workload {
  return {
    name: `fan-out-${subscribers}`,
    form: subscribers === 10 ? "full" : "quick",
    probes: {
      product: onEmpty(followers(subscribers), pipe(timedTen, 64, { orUnary: true })),
      limit: noop([followers(subscribers, { withoutCaughtUp: true })], 64 * KiB),
    },
    rows: [
      {
        workload: `fan-out-${subscribers}`,
        title: `Live delivery to ${subscribers} subscribers beside as many appends as go`,
        unit: "events/s",
        value: product("events/s", 0),
        limit: [limit("events/s", 0)],
        against: `grpc-js streaming 64 KiB messages to ${subscribers} calls`,
        ...(subscribers === 100 ? { target: ratioAtLeast(0.7) } : {}),
      },
    ],
  };
}

const fanOuts: readonly Workload[] = [
  fanOut(1),
  fanOut(10),
  fanOut(100),
  {
    name: "fan-out-100-latency",
    form: "quick",
    probes: {
      product: onEmpty(followers(100), pipe(timedTen, 64, { perSecond: 500, orUnary: true })),
    },
    rows: [
      {
        workload: "fan-out-100-latency",
        title: "Live delivery of 5,000 events/s to 100 subscribers: p99",
        unit: "ms",
        value: product("p99", 0),
        limit: [product("p99", 1)],
        against: "p99 of the commits in the same run",
        target: ratioAtMost(3),
      },
    ],
  },
];

function beside(events: number): readonly Workload[] {
  const idle: FollowPart = {
    kind: "follow",
    call: { verb: "subscribe-idle", group: 0 },
    subscribers: 10_000,
    connections: 10,
  };
  const store = { events, written: true };
  const names = nameCount(events);
  const on = (...parts: Part[]): Probe => ({ at: "product", store, parts });
  const everything = (readers: number) =>
    reads({ verb: "read-all" }, readers, { connections: readers, windowBytes: 4 * MiB });
  const aStream: CallSpec = { verb: "read-stream", streams: names };
  return [
    {
      name: "append-beside-idle",
      form: "quick",
      probes: {
        alone: onEmpty(unary(one, 64)),
        product: onEmpty(idle, unary(one, 64)),
      },
      rows: [
        {
          workload: "append-beside-idle",
          title: "Unary appends, 64 at a time, beside 10,000 idle subscriptions",
          unit: "calls/s",
          value: product("calls/s", 1),
          limit: [figure("alone", "calls/s")],
          against: "the same appends alone",
          target: ratioAtLeast(0.9),
        },
      ],
    },
    {
      name: "append-beside-readers",
      form: "quick",
      probes: {
        alone: on(unary(one, 64)),
        reader: on(everything(1)),
        product: on(everything(8), unary(one, 64)),
      },
      rows: [
        {
          workload: "append-beside-readers",
          title: "Unary appends, 64 at a time, beside 8 readers of everything",
          unit: "calls/s",
          value: product("calls/s", 1),
          limit: [figure("alone", "calls/s")],
          against: "the same appends alone",
          target: ratioAtLeast(0.5),
        },
        {
          workload: "readers-beside-append",
          title: "8 readers of everything beside unary appends",
          unit: "events/s",
          value: product("events/s", 0),
          limit: [figure("reader", "events/s")],
          against: "one reader alone",
          target: ratioAtLeast(0.5),
        },
      ],
    },
    {
      name: "mixed",
      form: "quick",
      probes: {
        product: on(unary(one, 32), reads(aStream, 32)),
        limit: noop([unary(one, 32), unary(aStream, 32, { path: unaryPath })]),
      },
      rows: [
        {
          workload: "mixed",
          title: "32 unary appends and 32 stream reads at a time",
          unit: "calls/s",
          value: product("calls/s"),
          limit: [limit("calls/s")],
          against: noopUnary,
        },
      ],
    },
  ];
}

function starts(events: number, form: Form): Workload {
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

function growth(small: number, large: number, form: Form, target?: Target): Workload {
  const appendsAt = (events: number): Probe => ({
    at: "product",
    store: { events, written: true },
    parts: [unary(one, 64)],
  });
  const readsAt = (events: number): Probe => ({
    at: "product",
    store: { events },
    parts: [reads({ verb: "read-stream", streams: nameCount(events) }, 8, { expectEvents: 10 })],
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
      row("append", "Unary appends, 64 at a time", ["appendSmall", "appendLarge"]),
      row("read-stream", "Stream reads, 8 at a time", ["readSmall", "readLarge"]),
    ],
  };
}

function clients(events: number): readonly Workload[] {
  const client = "grpc-js" as const;
  const everything = [reads({ verb: "read-all" }, 1, { windowBytes: 4 * MiB, client })];
  const inUnary = [unary(one, 64, { client })];
  const inPipe = [pipe(one, 1_024, { client })];
  const row = (workload: string, what: string) => ({
    workload,
    title: `${what}, by the TypeScript client of this repository`,
    against: "grpc-js no-op, the same client and sizes",
  });
  return [
    {
      name: "light-client",
      form: "quick",
      probes: {
        product: onEmpty(unary(one, 64)),
        light: noop([unary(one, 64)]),
        limit: noop(inUnary),
      },
      rows: [
        {
          workload: "light-client",
          title: "The load generator itself: unary calls to a no-op, 64 at a time",
          unit: "calls/s",
          value: figure("light", "calls/s"),
          limit: [limit("calls/s")],
          against: "a grpc-js client with the generated codec",
        },
      ],
    },
    besideNoop(
      row("client-append-unary-c64", "Unary appends, 64 at a time"),
      "full",
      { product: onEmpty(...inUnary), noop: inUnary },
      "calls/s",
    ),
    besideNoop(
      row("client-append-pipe-1", "AppendStream, one event an append"),
      "full",
      { product: onEmpty(...inPipe), noop: inPipe },
      "events/s",
    ),
    besideNoop(
      row("client-read-all", "Read everything, a window of 4 MiB"),
      "full",
      {
        product: { at: "product", store: { events }, parts: everything },
        noop: everything,
      },
      "events/s",
    ),
  ];
}

function footprint(events: number): Workload {
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

/** `scale` 1: a preloaded store of a million events. */
export function workloads(scale: number): readonly Workload[] {
  const million = Math.max(10_000, Math.round(1_000_000 * scale));
  const small = Math.max(1_000, Math.round(million / 10));
  const large = million * 10;
  return [
    ...appends,
    ...conditional(million),
    ...readsOf(million),
    ...fanOuts,
    ...beside(million),
    ...clients(million),
    growth(small, million, "full"),
    growth(small, large, "long", ratioAtLeast(0.9)),
    starts(million, "quick"),
    starts(large, "long"),
    footprint(million),
  ];
}

function count(events: number): string {
  return events.toLocaleString("en-US");
}

function short(events: number): string {
  if (events >= 1_000_000) return `${events / 1_000_000}m`;
  return `${events / 1_000}k`;
}
