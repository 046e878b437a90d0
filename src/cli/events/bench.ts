// `annals bench`: puts a load on a running server and says how fast it was. What is appended stays:
// a store that has events is left alone unless the caller says otherwise.

import { randomBytes } from "node:crypto";
import { WriteState } from "../../gen/annals/v1/info_pb.js";
import {
  CommandError,
  connectionOptions,
  jsonOption,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { withSession, type Session } from "../connection/session.ts";
import { counted, grouped, jsonLine } from "../output/display.ts";
import { progressOn } from "../output/progress.ts";
import { tableOn, type Column } from "../output/table.ts";
import { print, say, type Terminal } from "../output/terminal.ts";
import { runBench, type BenchPlan, type BenchResult, type Tally } from "./bench-work.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  "in-flight": { type: "string" },
  batch: { type: "string" },
  bytes: { type: "string" },
  reads: { type: "string" },
  subscribers: { type: "string" },
  streams: { type: "string" },
  "stream-prefix": { type: "string" },
  seconds: { type: "string" },
  yes: { type: "boolean" },
} as const;
type Values = ReturnType<typeof parse<typeof options>>["values"];

const callersMax = 10_000;
const batchMax = 10_000;
const bytesMax = 1024 * 1024;
const streamsMax = 10_000_000;
const secondsMax = 86_400;

const columns: readonly Column[] = [
  { title: "WORK", side: "left" },
  { title: "CALLS/S", side: "right" },
  { title: "EVENTS/S", side: "right" },
  { title: "P50 MS", side: "right" },
  { title: "P99 MS", side: "right" },
  { title: "MAX MS", side: "right" },
  { title: "ERRORS", side: "right" },
];

/** Exits with 1 where calls failed, or deliveries did not come. */
export async function bench(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [address = values.address] = positionals;
  const plan = planOf(values);
  return withSession({ ...values, address }, terminal, async (session) => {
    await refuseUnasked(session, plan, values.yes === true);
    await say(terminal.errors, introduction(plan, session.address));
    const progress = progressOn(terminal);
    const tell = (appended: number, seconds: number): void => {
      const words = `${Math.floor(seconds)} s, appended ${counted(appended, "event")}`;
      progress.tell(words, Math.min(seconds, plan.seconds), plan.seconds);
    };
    let result: BenchResult;
    try {
      result = await runBench(session, plan, tell);
    } finally {
      await progress.end();
    }
    const json = values.json === true;
    const text = json ? jsonLine(jsonOf(plan, result)) : tableOf(plan, result, terminal);
    await print(terminal.output, text);
    session.signal.throwIfAborted();
    return isClean(result) ? 0 : 1;
  });
}

function planOf(values: Values): BenchPlan {
  const number = (
    name: Exclude<keyof Values, "tls" | "json" | "yes">,
    absent: number,
    bounds: { readonly min: number; readonly max: number },
  ): number => {
    const text = values[name];
    return text === undefined ? absent : wholeNumber(text, `--${name}`, bounds);
  };
  const callers = { min: 0, max: callersMax };
  const plan = {
    inFlight: number("in-flight", 64, callers),
    batch: number("batch", 1, { min: 1, max: batchMax }),
    bytes: number("bytes", 200, { min: 1, max: bytesMax }),
    reads: number("reads", 0, callers),
    subscribers: number("subscribers", 0, callers),
    streams: number("streams", 1_000, { min: 1, max: streamsMax }),
    seconds: number("seconds", 10, { min: 1, max: secondsMax }),
    prefix: values["stream-prefix"] ?? `bench-${randomBytes(4).toString("hex")}-`,
  };
  if (plan.inFlight + plan.reads === 0) {
    throw new UsageError("--in-flight 0 needs --reads: there is nothing to do");
  }
  if (plan.inFlight === 0 && values["stream-prefix"] === undefined) {
    throw new UsageError("--in-flight 0 needs --stream-prefix: of the streams that are read");
  }
  return plan;
}

/** Events cannot be taken back: they go into a store with others only where that is asked for. */
async function refuseUnasked(session: Session, plan: BenchPlan, isAsked: boolean): Promise<void> {
  const { head, writeState } = await session.store.getInfo({}, session.once);
  if (plan.inFlight === 0) return;
  if (writeState !== WriteState.ACCEPTING) {
    const state = (WriteState[writeState] ?? "unknown").toLowerCase().replaceAll("_", " ");
    throw new CommandError(`the store does not accept appends: its state is "${state}"`);
  }
  if (head === 0n || isAsked) return;
  throw new CommandError(
    `the store at ${session.address} has ${counted(head, "event")}, and what bench appends ` +
      "stays among them for good\nuse a server with an empty store, or say --yes",
  );
}

function introduction(plan: BenchPlan, address: string): string {
  const { inFlight, batch, bytes, reads, subscribers, prefix, streams, seconds } = plan;
  const work = [
    inFlight > 0
      ? `${counted(inFlight, "caller")} append ${counted(batch, "event")} of ${bytes} bytes`
      : "",
    reads > 0 ? `${counted(reads, "caller")} read` : "",
    subscribers > 0 ? `${counted(subscribers, "subscriber")} listen` : "",
  ].filter((part) => part !== "");
  const last = streams - 1;
  const where = `the streams ${prefix}0 to ${prefix}${last}${inFlight > 0 ? ", which stay" : ""}`;
  return `${address}: ${work.join(", ")} for ${seconds} s; ${where}`;
}

function isClean({ appends, reads, deliveries, missing }: BenchResult): boolean {
  const errors = [appends, reads, deliveries].map(({ errorCount }) => errorCount);
  return errors.every((count) => count === 0) && missing === 0;
}

function worksOf(plan: BenchPlan, result: BenchResult): [string, Tally][] {
  const works: [string, Tally, number][] = [
    ["appends", result.appends, plan.inFlight],
    ["reads", result.reads, plan.reads],
    ["deliveries", result.deliveries, plan.subscribers],
  ];
  return works.filter(([, , count]) => count > 0).map(([name, tally]) => [name, tally]);
}

function tableOf(plan: BenchPlan, result: BenchResult, terminal: Terminal): string {
  const { seconds, missing, cpuShare } = result;
  const works = worksOf(plan, result);
  const rate = (count: number): string => grouped(Math.round(count / seconds));
  const ms = (percent: number, tally: Tally): string =>
    tally.percentileMs(percent)?.toFixed(2) ?? "-";
  const rows = works.map(([name, tally]) => [
    name,
    rate(tally.calls),
    rate(tally.events),
    ms(50, tally),
    ms(99, tally),
    ms(100, tally),
    grouped(tally.errorCount),
  ]);
  const errors = works.flatMap(([name, tally]) =>
    [...tally.errors].map(([reason, count]) => `${name}: ${grouped(count)} x ${reason}\n`),
  );
  const lost = missing > 0 ? [`deliveries: ${grouped(missing)} did not come within 10 s\n`] : [];
  const cpu = `this command used ${Math.round(cpuShare * 100)} % of a core: near 100 %, it is what`;
  return [
    tableOn(terminal.output, terminal, columns)(rows),
    ...errors,
    ...lost,
    `${cpu} limits the rates\n`,
  ].join("");
}

function jsonOf(plan: BenchPlan, result: BenchResult): object {
  const { seconds, missing, cpuShare } = result;
  const works = worksOf(plan, result).map(([name, tally]) => {
    const figures = {
      calls: tally.calls,
      events: tally.events,
      callsPerSecond: tally.calls / seconds,
      eventsPerSecond: tally.events / seconds,
      p50Ms: tally.percentileMs(50),
      p99Ms: tally.percentileMs(99),
      maxMs: tally.percentileMs(100),
      errors: Object.fromEntries(tally.errors),
    };
    return [name, figures] as const;
  });
  return { plan, seconds, ...Object.fromEntries(works), missing, clientCpuShare: cpuShare };
}
