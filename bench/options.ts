// The command line of the benchmark.

import { parseArgs } from "node:util";
import type { Form } from "./probe.ts";

export const help = `npm run bench -- [options]

  --quick              the short form: one round, small stores, under three minutes
  --long               also what needs ten times the preloaded store (10 M events at scale 1)
  --only NAMES         only these workloads, by name or beginning, separated by commas
  --list               names the workloads and ends
  --scale N            size of the preloaded store in millions of events (1; with --quick 0.2)
  --rounds N           rounds, whose median counts (3; with --quick 1)
  --seconds N          length of one measurement (3; with --quick 0.8)
  --folder FOLDER      where the stores are made (the system's temporary folder)
  --target HOST:PORT   send the same load to another server; nothing is written to the repository
  --adapter NAME       annals, kurrentdb, umadb or postgres: the protocol of that server (annals)
  --storage URL        run the workloads of PostgreSQL on this database, of one host; nothing is
                       written to the repository
  --peers NAMES        compare with other event stores instead (umadb): writes bench/peers.json
                       and docs/peers.md; --only, --scale, --rounds and --seconds apply
  --profile FOLDER     take V8's CPU profile of the server, print where the time went
  --dry                write neither bench/results.json nor docs/performance.md
`;

export type Adapter = "annals" | "kurrentdb" | "umadb" | "postgres";

export interface Options {
  readonly forms: readonly Form[];
  readonly only: readonly string[];
  readonly list: boolean;
  readonly help: boolean;
  readonly scale: number;
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly folder: string | undefined;
  readonly target: { readonly host: string; readonly port: number } | undefined;
  readonly adapter: Adapter;
  /** A database for the workloads of PostgreSQL. Undefined: one of the benchmark's own. */
  readonly storage: string | undefined;
  /** Empty: Annals alone is measured. */
  readonly peers: readonly string[];
  readonly profileFolder: string | undefined;
  readonly dry: boolean;
}

const adapters: readonly string[] = ["annals", "kurrentdb", "umadb", "postgres"];

/** Throws a TypeError on an invalid option. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      long: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
      scale: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      folder: { type: "string" },
      target: { type: "string" },
      adapter: { type: "string", default: "annals" },
      storage: { type: "string" },
      peers: { type: "string", default: "" },
      profile: { type: "string" },
      dry: { type: "boolean", default: false },
    },
  });
  const { quick, long, only, adapter } = values;
  const chosen = only.split(",").filter((name) => name !== "");
  if (!adapters.includes(adapter)) throw new TypeError(`no such adapter: ${adapter}`);
  const number = (name: "scale" | "rounds" | "seconds", initial: number) => {
    const value = values[name] === undefined ? initial : Number(values[name]);
    if (!(value > 0)) throw new TypeError(`--${name} must be a number above 0`);
    return value;
  };
  if (adapter !== "annals" && values.target === undefined) {
    throw new TypeError(`--adapter ${adapter} needs --target: where that server listens`);
  }
  const measureMs = number("seconds", quick ? 0.8 : 3) * 1_000;
  return {
    forms: formsOf(quick, long, chosen.length > 0),
    only: chosen,
    list: values.list,
    help: values.help,
    scale: number("scale", quick ? 0.2 : 1),
    rounds: Math.ceil(number("rounds", quick ? 1 : 3)),
    warmUpMs: Math.min(1_000, measureMs / 3),
    measureMs,
    folder: values.folder,
    target: values.target === undefined ? undefined : addressOf(values.target),
    adapter: adapter as Adapter,
    storage: values.storage,
    peers: values.peers.split(",").filter((name) => name !== ""),
    profileFolder: values.profile,
    dry: values.dry || (values.target ?? values.storage) !== undefined,
  };
}

/** A workload that is named runs in any form. */
function formsOf(quick: boolean, long: boolean, named: boolean): readonly Form[] {
  if (long || named) return ["quick", "full", "long"];
  return quick ? ["quick"] : ["quick", "full"];
}

function addressOf(text: string): { host: string; port: number } {
  const [, host, port] = /^(.+):(\d+)$/.exec(text) ?? [];
  if (host === undefined || port === undefined) throw new TypeError("--target wants HOST:PORT");
  return { host, port: Number(port) };
}
