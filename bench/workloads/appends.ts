// Appends: unary, in a pipe, on a condition.

import { nameCount } from "../load/events.ts";
import type { CallSpec } from "../load/job.ts";
import type { Probe, Target, Workload } from "../probe.ts";
import {
  KiB,
  one,
  hundred,
  noopUnary,
  noopBidi,
  rawChunks,
  unary,
  pipe,
  onEmpty,
  onEmptyWatched,
  noop,
  product,
  limit,
  figure,
  ratioAtLeast,
  ratioAtMost,
  besideNoop,
} from "./words.ts";

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

export const appends: readonly Workload[] = [
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
  {
    name: "observed",
    form: "full",
    probes: {
      product: onEmpty(unary(one, 64)),
      bare: onEmptyWatched("bare", unary(one, 64)),
      all: onEmptyWatched("all", unary(one, 64)),
    },
    rows: [
      {
        workload: "observed-cpu",
        title: "Unary appends, 64 at a time: CPU of a call that is counted by the metrics",
        unit: "us",
        value: product("us CPU/call"),
        limit: [figure("bare", "us CPU/call")],
        against: "the same without metrics",
        target: ratioAtMost(1.01),
      },
      {
        workload: "observed-all",
        title: "Unary appends, 64 at a time, with metrics and tokens",
        unit: "calls/s",
        value: figure("all", "calls/s"),
        limit: [figure("bare", "calls/s")],
        against: "the same without metrics and tokens",
        target: ratioAtLeast(0.97),
      },
    ],
  },
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
        title: "AppendPipe, one event an append",
        unit: "events/s",
        value: product("events/s"),
        limit: [limit("events/s")],
        against: noopBidi,
        target: ratioAtLeast(0.7),
      },
      {
        workload: "append-pipe-1-over-unary",
        title: "AppendPipe, one event an append, against unary appends",
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
        title: "AppendPipe, 100 events an append",
        unit: "events/s",
        value: product("events/s"),
        limit: [limit("events/s")],
        against: rawChunks,
        target: ratioAtLeast(0.6),
      },
      {
        workload: "append-pipe-100-over-bidi",
        title: "AppendPipe, 100 events an append, against the transport",
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

export function conditional(events: number): readonly Workload[] {
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
    besidePlain("append-dcb-pair", "Append on a condition of two tags, 64 at a time", {
      verb: "append-on-condition",
      tags: names,
      pair: true,
    }),
    besidePlain("append-expecting-version", "Append expecting a version, 64 at a time", {
      verb: "append-expecting-version",
      group: 0,
    }),
  ];
}
