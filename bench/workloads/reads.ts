// Reads: everything, a stream, by tag, by type.

import { nameCount, rareType, commonType } from "../load/events.ts";
import type { CallSpec, Part } from "../load/job.ts";
import type { Probe, RowSpec, Target, Workload } from "../probe.ts";
import {
  MiB,
  grpcDefaultWindowBytes,
  unaryPath,
  noopStream,
  unary,
  reads,
  product,
  ratioAtLeast,
  besideNoop,
  count,
} from "./words.ts";

/** Streams in use. */
const writtenStreams = 1_000;

export function readsOf(events: number): readonly Workload[] {
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
        workload: "read-stream-zipf",
        title: `The same, some streams much more often than others (Zipf)`,
        against: "grpc-js no-op, unary, the same response size",
      },
      { verb: "read-stream", streams: names, zipf: true },
      10,
    ),
    {
      name: "read-stream-written",
      form: "quick",
      probes: {
        product: {
          at: "product",
          store: { events, written: true },
          parts: [
            unary({ verb: "append", events: 1, streams: writtenStreams }, 8, { perSecond: 500 }),
            reads({ verb: "read-stream", streams: writtenStreams }, 8),
          ],
        },
      },
      rows: [
        {
          workload: "read-stream-written",
          title: "Read streams of 10 events and more to which 500 events a second are appended",
          unit: "calls/s",
          value: product("calls/s", 1),
        },
      ],
    },
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
