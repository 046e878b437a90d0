// Servers over PostgreSQL, against programs without a server on the same database.

import type { BareProbe, ServersProbe } from "../databases.ts";
import { nameCount } from "../load/events.ts";
import type { Part } from "../load/job.ts";
import type { Target, Workload } from "../probe.ts";
import { count, figure, one, product, ratioAtLeast, reads, unary } from "./words.ts";

/** What forms a batch while another one is committed. */
const batchEvents = 500;

const servers = (many: number, store: ServersProbe["store"], ...parts: Part[]): ServersProbe => {
  return { at: "servers", servers: many, store, parts };
};
const bare = (what: BareProbe["what"], atATime: number, store: BareProbe["store"]): BareProbe => {
  return { at: "bare-database", what, atATime, store };
};

function appends(concurrency: number, twoAtLeast: number): Workload {
  const parts = unary(one, concurrency);
  const name = `postgres-append-c${concurrency}`;
  const title = `PostgreSQL: unary append of one event, ${count(concurrency)} at a time`;
  const row = (workload: string, words: string, value: string, limit: string, target: Target) => ({
    workload,
    title: `${title}${words}`,
    unit: "events/s",
    value: figure(value, "events/s"),
    limit: [figure(limit, "events/s")],
    against: againsts[limit] ?? limit,
    target,
  });
  const rows = [
    row(`${name}-two`, ", two servers against one", "two", "product", ratioAtLeast(twoAtLeast)),
  ];
  if (concurrency === 1_000) {
    rows.push(
      row(name, ", two servers", "two", "batches", ratioAtLeast(0.8)),
      row(`${name}-usual`, "", "product", "singles", ratioAtLeast(4)),
    );
  }
  const limits = {
    batches: bare("batches", batchEvents, "empty"),
    singles: bare("singles", concurrency, "empty"),
  };
  return {
    name,
    form: "full",
    probes: {
      product: servers(1, "empty", parts),
      two: servers(2, "empty", parts),
      ...(concurrency === 1_000 && limits),
    },
    rows,
  };
}

const againsts: Readonly<Record<string, string>> = {
  product: "one server on the same database",
  batches: `the same rows by a program with pg alone, ${batchEvents} in a transaction`,
  singles: "a table of events, one INSERT for each append, 20 connections",
};

export function databases(events: number): readonly Workload[] {
  const store = { events };
  const written = { events, written: true };
  const names = nameCount(events);
  return [
    appends(1_000, 0.95),
    appends(256, 0.85),
    {
      name: "postgres-read-all",
      form: "full",
      probes: {
        product: servers(1, store, reads({ verb: "read-all" }, 1, { expectEvents: events })),
        limit: bare("copy", 1, store),
      },
      rows: [
        {
          workload: "postgres-read-all",
          title: `PostgreSQL: read of ${count(events)} events`,
          unit: "events/s",
          value: product("events/s"),
          limit: [figure("limit", "events/s")],
          against: "COPY TO STDOUT (FORMAT binary) of the same rows",
          target: ratioAtLeast(0.7),
        },
      ],
    },
    {
      name: "postgres-read-stream",
      form: "full",
      probes: {
        product: servers(1, store, reads({ verb: "read-stream", streams: names }, 16)),
        limit: bare("stream", 16, store),
      },
      rows: [
        {
          workload: "postgres-read-stream",
          title: "PostgreSQL: read of a stream of 10 events, 16 at a time",
          unit: "calls/s",
          value: product("calls/s"),
          limit: [figure("limit", "calls/s")],
          against: "the same by a prepared SELECT with pg alone, 8 connections",
          target: ratioAtLeast(0.6),
        },
      ],
    },
    {
      name: "postgres-append-dcb",
      form: "full",
      probes: {
        product: servers(
          1,
          written,
          unary({ verb: "append-on-condition", tags: names, pair: true }, 64),
        ),
        plain: servers(1, written, unary({ verb: "append", events: 1, streams: names }, 64)),
      },
      rows: [
        {
          workload: "postgres-append-dcb",
          title: "PostgreSQL: append on a DCB condition (two tags), 64 at a time",
          unit: "calls/s",
          value: product("calls/s"),
          limit: [figure("plain", "calls/s")],
          against: "unconditional appends to the same store",
          target: ratioAtLeast(0.77),
        },
      ],
    },
  ];
}
