// The protocol of KurrentDB beside annals.v1, on one server: the same events in both.

import type { CallSpec, Part } from "../load/job.ts";
import type { Probe, Workload } from "../probe.ts";
import { figure, MiB, one, pipe, product, ratioAtLeast, ratioAtMost, reads } from "./words.ts";

const plain: CallSpec = { ...one, ids: true, plain: true };

export function besideKurrentdb(events: number): readonly Workload[] {
  const everything = [reads({ verb: "read-all" }, 1, { windowBytes: 4 * MiB })];
  const reading = (through: "annals" | "kurrentdb"): Probe => {
    return { at: "product", store: { events }, parts: everything, through };
  };
  const appends: Part[] = [pipe(plain, 1_024)];
  const appending = (through: "annals" | "kurrentdb"): Probe => {
    return { at: "product", store: "empty", parts: appends, through };
  };
  return [
    {
      name: "kurrentdb-read-all",
      form: "full",
      probes: { product: reading("kurrentdb"), own: reading("annals") },
      rows: [
        {
          workload: "kurrentdb-read-all",
          title: "Read everything by KurrentDB's protocol, the client opens a window of 4 MiB",
          unit: "events/s",
          value: product("events/s"),
          limit: [figure("own", "events/s")],
          against: "the same by annals.v1",
          target: ratioAtLeast(0.6),
        },
        {
          workload: "kurrentdb-read-all-cpu",
          title: "Read everything by KurrentDB's protocol: CPU of an event",
          unit: "us",
          value: product("us"),
          limit: [figure("own", "us")],
          against: "the same by annals.v1",
          target: ratioAtMost(1.67),
        },
      ],
    },
    {
      name: "kurrentdb-batch-append",
      form: "full",
      probes: { product: appending("kurrentdb"), own: appending("annals") },
      rows: [
        {
          workload: "kurrentdb-batch-append",
          title: "BatchAppend of KurrentDB's protocol, one event an append: CPU of an event",
          unit: "us",
          value: product("us"),
          limit: [figure("own", "us")],
          against: "AppendPipe with the same events",
          target: ratioAtMost(1.3),
        },
      ],
    },
  ];
}
