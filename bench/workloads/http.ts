// HTTP beside gRPC on the same port: appends and pages in JSON, subscribers by Server-Sent Events.

import type { FollowPart } from "../load/job.ts";
import type { Workload } from "../probe.ts";
import {
  figure,
  followers,
  one,
  onEmpty,
  product,
  ratioAtLeast,
  ratioAtMost,
  unary,
} from "./words.ts";

const client = "http" as const;
/** All subscribers come from one address. */
const flags = ["--max-connections", "2000", "--max-connections-per-address", "2000"];
const timedOne = { ...one, timed: true };
const subscribers = 1_000;

export function byHttp(events: number): readonly Workload[] {
  return [
    {
      name: "append-http",
      form: "quick",
      probes: {
        grpc: onEmpty(unary(one, 64)),
        product: onEmpty(unary(one, 64, { client })),
        http2: onEmpty(unary(one, 64, { client: "http2" })),
      },
      rows: [
        {
          workload: "append-http-c64",
          title: "Append of one event by HTTP/1.1 and JSON, 64 at a time",
          unit: "calls/s",
          value: product("calls/s"),
          limit: [figure("grpc", "calls/s")],
          against: "the same appends by gRPC",
          target: ratioAtLeast(0.5),
        },
        {
          workload: "append-http-cpu",
          title: "Append of one event by HTTP/1.1 and JSON, 64 at a time: CPU of a call",
          unit: "us",
          value: product("us CPU/call"),
          limit: [figure("grpc", "us CPU/call")],
          against: "the same appends by gRPC",
          target: ratioAtMost(2),
        },
        {
          workload: "append-http2-c64",
          title: "Append of one event by HTTP/2 and JSON, 64 at a time",
          unit: "calls/s",
          value: figure("http2", "calls/s"),
          limit: [figure("grpc", "calls/s")],
          against: "the same appends by gRPC",
          target: ratioAtLeast(0.5),
        },
        {
          workload: "append-http2-cpu",
          title: "Append of one event by HTTP/2 and JSON, 64 at a time: CPU of a call",
          unit: "us",
          value: figure("http2", "us CPU/call"),
          limit: [figure("grpc", "us CPU/call")],
          against: "the same appends by gRPC",
        },
      ],
    },
    {
      name: "http-page",
      form: "quick",
      probes: {
        product: {
          at: "product",
          store: { events },
          parts: [unary({ verb: "read-page" }, 1, { client })],
        },
      },
      rows: [
        {
          workload: "http-page",
          title: "The newest hundred events as JSON by HTTP, as a page of the console: p99",
          unit: "ms",
          value: product("p99"),
          target: { of: "value", atMost: 100 },
        },
      ],
    },
    fanOutOverHttp("sse", "http", "Server-Sent Events"),
    fanOutOverHttp("grpc-web", "grpc-web", "gRPC-Web"),
  ];
}

function fanOutOverHttp(
  name: string,
  by: NonNullable<FollowPart["client"]>,
  protocol: string,
): Workload {
  const title = `1,000 subscribers by ${protocol} beside 1,000 appends/s`;
  const workload = `${name}-fan-out-1000`;
  return {
    name: workload,
    form: "quick",
    probes: {
      product: {
        at: "product",
        store: "empty",
        parts: [followers(subscribers, { client: by }), unary(timedOne, 64, { perSecond: 1_000 })],
        flags,
      },
    },
    rows: [
      {
        workload,
        title: `${title}: events delivered`,
        unit: "events/s",
        value: product("events/s", 0),
        target: { of: "value", atLeast: 0.99 * subscribers * 1_000 },
      },
      {
        workload: `${workload}-latency`,
        title: `${title}: p99`,
        unit: "ms",
        value: product("p99", 0),
        limit: [product("p99", 1)],
        against: "p99 of the appends in the same run",
      },
      {
        workload: `${workload}-cpu`,
        title: `${title}: CPU of each delivery`,
        unit: "us",
        value: product("us", 0),
      },
    ],
  };
}
