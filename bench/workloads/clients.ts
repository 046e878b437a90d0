// Clients: the load generator itself, and the TypeScript SDK.

import type { Workload } from "../probe.ts";
import { MiB, one, unary, reads, pipe, onEmpty, noop, limit, figure, besideNoop } from "./words.ts";

export function clients(events: number): readonly Workload[] {
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
      row("client-append-pipe-1", "AppendPipe, one event an append"),
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
