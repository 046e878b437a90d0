// `annals import`: appends the events of a file in their order. Each is stored exactly once,
// however often the command is stopped and run again.

import { statSync } from "node:fs";
import { isWorthRetrying } from "../../client/store/call-failure.ts";
import { AnnalsError } from "../../client/store/errors.ts";
import { byteCount, counted, grouped, jsonLine } from "../output/display.ts";
import { storeBatch } from "./import-append.ts";
import { batchesOf, type ImportBatch } from "./import-batches.ts";
import { BadLine } from "./input-lines.ts";
import { KeptTimes } from "./kept-times.ts";
import { namespaceOf } from "./name-id.ts";
import { sourceKind } from "./source.ts";
import {
  CommandError,
  connectionOptions,
  jsonOption,
  parse,
  CommandStopped,
} from "../arguments/options.ts";
import { progressOn } from "../output/progress.ts";
import { withSession, type Session } from "../connection/session.ts";
import { inputOf, print, say, type Terminal } from "../output/terminal.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  namespace: { type: "string" },
  stream: { type: "string" },
  "dry-run": { type: "boolean" },
  "keep-times": { type: "boolean" },
} as const;

/** What became of the lines that were read. */
interface Counts {
  /** Lines whose events are stored. In a dry run: valid lines. */
  eventCount: number;
  /** How many of these were stored before this command began. */
  alreadyCount: number;
  /** How many repeat an event that this command had stored from an earlier line. */
  repeatedCount: number;
  byteCount: number;
  /** The last line up to which everything is stored. 0 means none. */
  line: number;
}

/** The bytes that are to be read and that were read. */
interface Source {
  readonly bytes: AsyncIterable<Buffer>;
  /** Undefined: nobody knows. */
  readonly byteCount: number | undefined;
  readCount: number;
}

const timeoutDefaultMs = 30_000;

/** Appends a file's events. With `--dry-run` it only reads the file. */
export async function importEvents(args: readonly string[], terminal: Terminal): Promise<number> {
  if (args.some((argument) => sourceKind(argument) !== undefined)) {
    return (await import("./move.ts")).importSource(args, terminal);
  }
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [path = "-"] = positionals;
  const isDryRun = values["dry-run"] === true;
  const namespace = values.namespace === undefined ? undefined : namespaceOf(values.namespace);
  const source = sourceOf(path, terminal);
  const times = values["keep-times"] === true ? new KeptTimes() : undefined;
  const batches = batchesOf(source.bytes, { namespace, stream: values.stream, times });
  const counts = { eventCount: 0, alreadyCount: 0, repeatedCount: 0, byteCount: 0, line: 0 };
  const progress = progressOn(terminal);
  const show = () =>
    progress.tell(counted(counts.eventCount, "event"), source.readCount, source.byteCount);
  try {
    if (isDryRun) await count(batches, counts, show);
    else await withSession(values, terminal, (session) => store(session, batches, counts, show));
  } catch (error) {
    throw isDryRun ? error : new CommandStopped(error, stoppedAt(counts, error, terminal));
  } finally {
    if (path === "-") terminal.input.destroy();
    await progress.end();
  }
  const moved = times?.movedCount;
  const summary = { ...summaryOf(counts), ...(moved !== undefined && { movedTimeCount: moved }) };
  if (values.json === true) await print(terminal.output, jsonLine(summary));
  else await say(terminal.errors, sentence(counts, isDryRun));
  if (values.json !== true && moved !== undefined && moved > 0) {
    await say(terminal.errors, `${counted(moved, "time")} moved to that of the event before`);
  }
  return 0;
}

async function store(
  { store: events, once, signal }: Session,
  batches: AsyncGenerator<ImportBatch>,
  counts: Counts,
  show: () => void,
): Promise<void> {
  const { head } = await events.getInfo({}, once);
  const timeoutMs = Math.max(once.timeoutMs ?? 0, timeoutDefaultMs);
  const context = { store: events, timeoutMs, signal };
  let storedUpTo = head;
  for await (const batch of readAhead(batches)) {
    let done = 0;
    for await (const { count: stored, lastPosition, wasThere } of storeBatch(batch, context)) {
      done += stored;
      counts.eventCount += stored;
      // After the head, and not just stored by an attempt without an answer: from an earlier line.
      if (lastPosition <= head) counts.alreadyCount += stored;
      else if (lastPosition <= storedUpTo) counts.repeatedCount += stored;
      else if (wasThere) counts.alreadyCount += stored;
      if (lastPosition > storedUpTo) storedUpTo = lastPosition;
      counts.line = batch.events[done - 1]?.line ?? counts.line;
      show();
    }
    counts.byteCount += batch.byteLength;
  }
}

/** Prepares the next batch while the previous one is being stored. */
async function* readAhead<T>(source: AsyncGenerator<T>): AsyncGenerator<T> {
  let upcoming = source.next();
  try {
    for (;;) {
      const { done, value } = await upcoming;
      if (done === true) return;
      upcoming = source.next();
      // A failure is thrown when the next batch is used, after the batches before it are stored.
      upcoming.catch(() => {});
      yield value;
    }
  } finally {
    // Not awaited, because it returns only when the pending input arrives or is destroyed.
    source.return(undefined).catch(() => {});
  }
}

async function count(batches: AsyncGenerator<ImportBatch>, counts: Counts, show: () => void) {
  for await (const { events, byteLength } of batches) {
    counts.eventCount += events.length;
    counts.byteCount += byteLength;
    counts.line = events.at(-1)?.line ?? counts.line;
    show();
  }
}

function sourceOf(path: string, terminal: Terminal): Source {
  const source: Source = { bytes: bytesOf(), byteCount: sizeOf(path), readCount: 0 };
  async function* bytesOf(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of inputOf(path, terminal)) {
        source.readCount += chunk.length;
        yield chunk;
      }
    } catch (error) {
      const name = path === "-" ? "standard input" : path;
      throw new CommandError(`cannot read ${name}: ${(error as Error).message}`, { cause: error });
    }
  }
  return source;
}

function sizeOf(path: string): number | undefined {
  const file = path === "-" ? undefined : statSync(path, { throwIfNoEntry: false });
  return file?.isFile() === true ? file.size : undefined;
}

function summaryOf({ eventCount, alreadyCount, repeatedCount, byteCount: bytes, line }: Counts) {
  return {
    eventCount,
    storedCount: eventCount - alreadyCount - repeatedCount,
    alreadyThereCount: alreadyCount,
    repeatedCount,
    byteCount: bytes,
    line,
  };
}

function sentence(counts: Counts, isDryRun: boolean): string {
  const { eventCount, alreadyCount, repeatedCount } = counts;
  const size = `${counted(eventCount, "event")}, ${byteCount(counts.byteCount)}`;
  if (isDryRun) return `${size}: every line is valid; nothing was sent`;
  const stored = grouped(eventCount - alreadyCount - repeatedCount);
  const repeated = repeatedCount === 0 ? "" : `, ${grouped(repeatedCount)} repeat an earlier line`;
  return `${size}: ${stored} stored, ${grouped(alreadyCount)} were already there${repeated}`;
}

/** How far the import got, and whether running it again helps. */
function stoppedAt({ line, eventCount }: Counts, error: unknown, terminal: Terminal): string {
  const isUnknown = error instanceof AnnalsError && error.mayHaveBeenStored;
  const none = isUnknown ? "it is not known whether anything was stored" : "nothing was stored";
  const upTo = `everything up to line ${line} is stored (${counted(eventCount, "event")})`;
  const reached = line === 0 ? none : upTo;
  if (line === 0 && !isUnknown) return reached;
  const isAgain = terminal.signal.aborted || isWorthRetrying(error);
  if (isAgain) return `${reached}; run the same command again to continue`;
  if (!(error instanceof BadLine)) return reached;
  return `${reached}; correct the line and run the same command again to continue`;
}
