// `annals import`: appends the events of a file in their order. Each is stored exactly once,
// however often the command is stopped and run again.

import { byteCount, eventsCounted, grouped } from "./display.ts";
import { storeBatch } from "./import-append.ts";
import { batchesOf, type ImportBatch } from "./import-batches.ts";
import { namespaceOf } from "./name-id.ts";
import { CommandError, connectionOptions, jsonOption, parse } from "./options.ts";
import { withSession, type Session } from "./session.ts";
import { inputOf, print, type Terminal } from "./terminal.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  namespace: { type: "string" },
  stream: { type: "string" },
  "dry-run": { type: "boolean" },
} as const;

interface Progress {
  /** Events of the file that are stored. */
  eventCount: number;
  /** How many of these were stored before this command began. */
  alreadyCount: number;
  byteCount: number;
  /** The last line up to which everything is stored. 0 means none. */
  line: number;
}

const progressIntervalMs = 200;
const timeoutDefaultMs = 30_000;

/** Appends a file's events. With `--dry-run` it only reads the file. */
export async function importEvents(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [path = "-"] = positionals;
  const namespace = values.namespace === undefined ? undefined : namespaceOf(values.namespace);
  const batches = batchesOf(bytesOf(path, terminal), { namespace, stream: values.stream });
  const progress: Progress = { eventCount: 0, alreadyCount: 0, byteCount: 0, line: 0 };
  const show = progressOn(terminal, progress);
  try {
    if (values["dry-run"] === true) await count(batches, progress, show);
    else {
      await withSession(values, terminal, (session) => store(session, batches, progress, show));
    }
  } catch (error) {
    await show("end");
    if (values["dry-run"] !== true) await print(terminal.errors, `${stoppedAt(progress)}\n`);
    throw error;
  } finally {
    if (path === "-") terminal.input.destroy();
  }
  await show("end");
  if (values.json === true) {
    await print(terminal.output, `${JSON.stringify(summaryOf(progress))}\n`);
  } else await print(terminal.errors, `${sentence(progress, values["dry-run"])}\n`);
  return 0;
}

async function store(
  { store: events, once, signal }: Session,
  batches: AsyncGenerator<ImportBatch>,
  progress: Progress,
  show: Show,
): Promise<void> {
  const { head } = await events.getInfo({}, once);
  const timeoutMs = Math.max(once.timeoutMs ?? 0, timeoutDefaultMs);
  const context = { store: events, timeoutMs, signal };
  for await (const batch of readAhead(batches)) {
    let done = 0;
    for await (const { count: stored, lastPosition } of storeBatch(batch, context)) {
      done += stored;
      progress.eventCount += stored;
      if (lastPosition <= head) progress.alreadyCount += stored;
      progress.line = batch.events[done - 1]?.line ?? progress.line;
      await show();
    }
    progress.byteCount += batch.byteLength;
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

async function count(batches: AsyncGenerator<ImportBatch>, progress: Progress, show: Show) {
  for await (const { events, byteLength } of batches) {
    progress.eventCount += events.length;
    progress.byteCount += byteLength;
    progress.line = events.at(-1)?.line ?? progress.line;
    await show();
  }
}

/** Explains a failure to read the file. */
async function* bytesOf(path: string, terminal: Terminal): AsyncGenerator<Buffer> {
  try {
    yield* inputOf(path, terminal);
  } catch (error) {
    const name = path === "-" ? "standard input" : path;
    throw new CommandError(`cannot read ${name}: ${(error as Error).message}`, { cause: error });
  }
}

type Show = (what?: "end") => Promise<void>;

/** A progress line that is rewritten a few times a second, if the output is a terminal. */
function progressOn(terminal: Terminal, progress: Progress): Show {
  if (terminal.errors.isTTY !== true) return async () => {};
  const started = performance.now();
  let shown = 0;
  return async (what) => {
    const now = performance.now();
    if (what === "end") {
      if (shown > 0) await print(terminal.errors, "\r\u001B[K");
    } else if (now - shown >= progressIntervalMs) {
      shown = now;
      const rate = Math.round((progress.eventCount * 1000) / (now - started));
      const text = `${eventsCounted(progress.eventCount)}, ${grouped(rate)} a second`;
      await print(terminal.errors, `\r\u001B[K${text}`);
    }
  };
}

function summaryOf({ eventCount, alreadyCount, byteCount: bytes, line }: Progress) {
  return {
    eventCount,
    storedCount: eventCount - alreadyCount,
    alreadyThereCount: alreadyCount,
    byteCount: bytes,
    line,
  };
}

function sentence(progress: Progress, dryRun: boolean | undefined): string {
  const { eventCount, alreadyCount } = progress;
  const size = `${eventsCounted(eventCount)}, ${byteCount(progress.byteCount)}`;
  if (dryRun === true) return `${size}: every line is valid; nothing was sent`;
  const stored = grouped(eventCount - alreadyCount);
  return `${size}: ${stored} stored, ${grouped(alreadyCount)} were already there`;
}

function stoppedAt({ line, eventCount }: Progress): string {
  if (line === 0) return "stopped before anything was stored";
  return (
    `stopped: everything up to line ${line} is stored (${eventsCounted(eventCount)}); ` +
    "run the same command again to continue"
  );
}
