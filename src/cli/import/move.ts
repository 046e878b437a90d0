// `annals import SOURCE` and `annals follow SOURCE`: moves the log of another system into a store,
// each event once and in order, however often the command is stopped and run again. How far it got
// is a checkpoint, saved in the commits of the events themselves.

import { setTimeout as sleep } from "node:timers/promises";
import { delayMs } from "../../client/store/retry.ts";
import {
  CommandStopped,
  connectionOptions,
  exitCode,
  jsonOption,
  parse,
  UsageError,
} from "../arguments/options.ts";
import { withSession, type Session } from "../connection/session.ts";
import { counted, grouped, jsonLine } from "../output/display.ts";
import { progressOn, type ProgressLine } from "../output/progress.ts";
import { print, say, type Terminal } from "../output/terminal.ts";
import { compareStreams, type Comparison } from "./comparison.ts";
import { itemBatches } from "./item-batches.ts";
import { KeptTimes } from "./kept-times.ts";
import { MoveTarget } from "./move-target.ts";
import { withOwnHints } from "./source-failure.ts";
import { sourceKind, type EventSource } from "./source.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  "content-type": { type: "string" },
  "keep-times": { type: "boolean" },
  "no-compare": { type: "boolean" },
} as const;

const timeoutDefaultMs = 30_000;
const reconnect = { attemptsMax: 12, delayMinMs: 200, delayMaxMs: 5_000 };
/** So long an incomplete batch waits for more from a live source. */
const idleMs = 20;

export async function importSource(args: readonly string[], terminal: Terminal): Promise<number> {
  return moveFrom(args, terminal, false);
}

export async function followSource(args: readonly string[], terminal: Terminal): Promise<number> {
  return moveFrom(args, terminal, true);
}

async function moveFrom(
  args: readonly string[],
  terminal: Terminal,
  isLive: boolean,
): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [url = ""] = positionals;
  const open = sourceKind(url);
  if (open === undefined) throw new UsageError(`"${url}" names no source: see annals help import`);
  const opened = await (await open())(url, { contentType: values["content-type"] });
  const source = withOwnHints(opened);
  try {
    return await withSession(values, terminal, async (session) => {
      const timeoutMs = Math.max(session.once.timeoutMs ?? 0, timeoutDefaultMs);
      const times = values["keep-times"] === true ? new KeptTimes() : undefined;
      const target = new MoveTarget(source, session, { timeoutMs, isLive, times });
      const move = new Move(source, target, session, terminal);
      const isCompared = !isLive && values["no-compare"] !== true;
      return move.run(isLive, isCompared, values.json === true);
    });
  } finally {
    await source.close();
  }
}

class Move {
  private readonly source: EventSource;
  private readonly target: MoveTarget;
  private readonly session: Session;
  private readonly terminal: Terminal;

  constructor(source: EventSource, target: MoveTarget, session: Session, terminal: Terminal) {
    this.source = source;
    this.target = target;
    this.session = session;
    this.terminal = terminal;
  }

  async run(isLive: boolean, isCompared: boolean, isJson: boolean): Promise<number> {
    const { target, source, terminal } = this;
    let comparison: Comparison | undefined;
    try {
      await target.resume();
      if (target.position !== undefined) {
        await say(terminal.errors, `going on after position ${target.position} of ${source.name}`);
      }
      await this.move(isLive);
      if (isCompared) comparison = await compareStreams(source, this.session, target.position);
    } catch (error) {
      throw new CommandStopped(error, this.stoppedAt());
    }
    const { counts, times } = target;
    const position = Number(target.position ?? 0n);
    const moved = times && { movedTimeCount: times.movedCount };
    const summary = { source: source.name, position, ...counts, ...moved };
    if (isJson) await print(terminal.output, jsonLine({ ...summary, ...comparison }));
    else await this.tell(comparison);
    return comparison === undefined || comparison.different.length === 0
      ? exitCode.ok
      : exitCode.failure;
  }

  /** Until the end of the log as it is now, or for ever. */
  private async move(isLive: boolean): Promise<void> {
    const { source, target, terminal } = this;
    const { signal } = this.session;
    const progress = progressOn(terminal);
    let failures = 0;
    try {
      for (;;) {
        const before = target.position;
        const failure = await this.pass(isLive, progress).then(() => undefined, failed);
        signal.throwIfAborted();
        if (failure === undefined && !isLive) break;
        failures = target.position === before ? failures + 1 : 1;
        const isLast = !isLive && failures >= reconnect.attemptsMax;
        if (failure !== undefined && (isLast || !source.isTemporary(failure.error))) {
          throw failure.error;
        }
        if (failure !== undefined && failures === 1) await this.sayLost(failure.error);
        await sleep(delayMs(reconnect, failures, Math.random()), undefined, { signal });
      }
      await target.finish();
    } finally {
      await progress.end();
    }
  }

  /** Reads the source once, from where the target is. */
  private async pass(isLive: boolean, progress: ProgressLine): Promise<void> {
    const { source, target } = this;
    const { signal } = this.session;
    const head = isLive ? undefined : await source.head(signal);
    const items = source.read({ after: target.position, isLive, signal });
    for await (const batch of itemBatches(items, isLive ? idleMs : undefined)) {
      await target.store(batch);
      const done = Number(target.position ?? 0n);
      const words = `${counted(target.counts.eventCount, "event")}, position ${grouped(done)}`;
      progress.tell(words, done, head === undefined ? undefined : Number(head));
    }
  }

  private sayLost(error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    const [first = ""] = message.split("\n");
    return say(this.terminal.errors, `${this.source.name}: ${first.trim()}; trying again`);
  }

  /** How far it got. The next run goes on there. */
  private stoppedAt(): string {
    const { counts, position } = this.target;
    const upTo = position === undefined ? "nothing is stored" : `stored up to position ${position}`;
    const now = `${counted(counts.eventCount, "event")} in this run`;
    return `${upTo} of ${this.source.name} (${now}); run the same command again to go on`;
  }

  private async tell(comparison: Comparison | undefined): Promise<void> {
    const { errors } = this.terminal;
    const { counts, times } = this.target;
    const movedTimes = times?.movedCount ?? 0;
    const { eventCount, changeCount, passedCount, renamedCount, alreadyCount } = counts;
    const parts = [
      `${counted(eventCount, "event")} stored`,
      ...(alreadyCount > 0 ? [`${grouped(alreadyCount)} were already there`] : []),
      ...(changeCount > 0 ? [`${counted(changeCount, "change")} of streams`] : []),
      ...(counts.skippedChangeCount > 0
        ? [`${counted(counts.skippedChangeCount, "change")} left out, as their streams went on`]
        : []),
      ...(renamedCount > 0 ? [`${counted(renamedCount, "id")} replaced`] : []),
      ...(passedCount > 0 ? [`${counted(passedCount, "system event")} passed over`] : []),
      ...(movedTimes > 0
        ? [`${counted(movedTimes, "time")} moved to that of the event before`]
        : []),
    ];
    await say(errors, parts.join(", "));
    if (comparison === undefined) return;
    const { streamCount, equalCount, removedCount, different } = comparison;
    const removed =
      removedCount === 0 ? "" : `, ${grouped(removedCount)} have removed events in the store`;
    const compared = counted(streamCount, "stream");
    await say(errors, `${compared} compared: ${grouped(equalCount)} equal${removed}`);
    for (const { stream, sourceCount, storeCount } of different.slice(0, 20)) {
      const name = stream === "" ? "events without a stream" : `stream ${stream}`;
      const how =
        sourceCount === storeCount
          ? `${grouped(sourceCount)} in both, but of other content`
          : `${grouped(sourceCount)} in the source, ${grouped(storeCount)} in the store`;
      await say(errors, `different: ${name}: ${how}`);
    }
    if (different.length > 20) await say(errors, `and ${grouped(different.length - 20)} more`);
  }
}

function failed(error: unknown): { readonly error: unknown } {
  return { error };
}
