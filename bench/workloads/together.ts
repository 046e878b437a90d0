// Concurrent loads: live delivery, idle subscriptions, readers beside appends.

import { nameCount } from "../load/events.ts";
import type { CallSpec, FollowPart, Part } from "../load/job.ts";
import type { Probe, Workload } from "../probe.ts";
import {
  KiB,
  MiB,
  unaryPath,
  one,
  timedTen,
  noopUnary,
  unary,
  reads,
  pipe,
  consumers,
  followers,
  onEmpty,
  noop,
  product,
  limit,
  figure,
  ratioAtLeast,
  ratioAtMost,
} from "./words.ts";

/** As few cost several times as much each as many do: their commits share nothing. */
const fiftyAppends = unary({ ...one, timed: true }, 1, { perSecond: 50 });

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

export const fanOuts: readonly Workload[] = [
  fanOut(1),
  fanOut(10),
  fanOut(100),
  {
    name: "fan-out-100-shared",
    form: "full",
    probes: {
      product: onEmpty(followers(100, { connections: 4 }), pipe(timedTen, 64, { orUnary: true })),
      limit: noop([followers(100, { connections: 4, withoutCaughtUp: true })], 64 * KiB),
    },
    rows: [
      {
        workload: "fan-out-100-shared",
        title: "The same to 100 subscribers that share four connections, with windows of 1 MiB",
        unit: "events/s",
        value: product("events/s", 0),
        limit: [limit("events/s", 0)],
        against: "grpc-js streaming 64 KiB messages to 100 calls on four connections",
      },
    ],
  },
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
  {
    name: "fan-out-1000-cpu",
    form: "quick",
    probes: {
      alone: onEmpty(fiftyAppends),
      product: onEmpty(followers(1_000, { connections: 10 }), fiftyAppends),
    },
    rows: [
      {
        workload: "fan-out-1000-cpu",
        title:
          "Live delivery of single events to 1,000 subscribers on ten connections: " +
          "the server's CPU of each, without that of the same 50 appends/s alone",
        unit: "us",
        value: { ...product("us", 0), without: "alone" },
        target: { of: "value", atMost: 2 },
      },
    ],
  },
];

/** Two members, each with enough permits to keep the server busy. */
const workers = consumers(2, 5_000);

export const groupConsume: readonly Workload[] = [
  {
    name: "group-consume",
    form: "quick",
    probes: {
      plain: onEmpty(followers(1), pipe(timedTen, 64, { orUnary: true })),
      product: onEmpty(workers, pipe(timedTen, 64, { orUnary: true })),
    },
    rows: [
      {
        workload: "group-consume",
        title:
          "A consumer group of 2 members, each delivery acknowledged, beside as many appends as go",
        unit: "events/s",
        value: product("events/s", 0),
        limit: [figure("plain", "events/s", 0)],
        against: "one plain subscription beside the same appends",
      },
    ],
  },
  {
    name: "group-consume-latency",
    form: "quick",
    probes: {
      plain: onEmpty(followers(1), pipe(timedTen, 64, { perSecond: 500, orUnary: true })),
      product: onEmpty(workers, pipe(timedTen, 64, { perSecond: 500, orUnary: true })),
    },
    rows: [
      {
        workload: "group-consume-latency",
        title: "A consumer group of 2 members at 5,000 events/s, each acknowledged: p99",
        unit: "ms",
        value: product("p99", 0),
        limit: [figure("plain", "p99", 0)],
        against: "p99 of one plain subscription at the same rate",
      },
    ],
  },
];

export function beside(events: number): readonly Workload[] {
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
      name: "append-beside-truncation",
      form: "quick",
      probes: {
        alone: on(unary(one, 64)),
        product: { at: "product", store: { ...store, truncated: true }, parts: [unary(one, 64)] },
      },
      rows: [
        {
          workload: "append-beside-truncation",
          title: "Unary appends, 64 at a time, while the space of removed events is given back",
          unit: "calls/s",
          value: product("calls/s"),
          limit: [figure("alone", "calls/s")],
          against: "the same appends alone",
          target: ratioAtLeast(0.8),
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
