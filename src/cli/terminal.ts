// What a command talks to: the process's streams and environment, or a test's. Output waits for its
// reader; colours and progress appear only where somebody looks.

import { createReadStream } from "node:fs";
import { addAbortSignal, type Readable, type Writable } from "node:stream";

export interface Output extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface Terminal {
  readonly input: Readable;
  readonly output: Output;
  readonly errors: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Aborted by the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

/** The reader of our output has gone, as when a pipe's other end closes. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

/** Somebody pressed Ctrl-C. */
class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** The process's own; the first signal asks, the second one kills. */
export function processTerminal(): Terminal {
  const interrupt = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => interrupt.abort(new Interrupted(name)));
  }
  return {
    input: process.stdin,
    output: process.stdout,
    errors: process.stderr,
    environment: process.env,
    signal: interrupt.signal,
  };
}

/** Outputs whose errors have a listener: those of a write are also told to its callback. */
const guarded = new WeakSet<Output>();

/** Writes and waits until the text is handed on. Throws `OutputClosed` where nobody takes it. */
export function print(output: Output, text: string): Promise<void> {
  if (!guarded.has(output)) {
    guarded.add(output);
    output.on("error", () => {});
  }
  return new Promise((resolve, reject) => {
    output.write(text, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(new OutputClosed(error.message, { cause: error }));
    });
  });
}

/**
 * The bytes of a file, or of standard input where the path is `-`; Ctrl-C ends the wait for them.
 */
export function inputOf(path: string, terminal: Terminal): AsyncIterable<Buffer> {
  const input = path === "-" ? terminal.input : createReadStream(path);
  return addAbortSignal(terminal.signal, input) as AsyncIterable<Buffer>;
}

export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
}

/** Colours on a terminal that wants them, nothing elsewhere. */
export function paintFor(output: Output, terminal: Terminal): Paint {
  const { NO_COLOR, TERM } = terminal.environment;
  const coloured = output.isTTY === true && !NO_COLOR && TERM !== "dumb";
  const wrap = (open: number, close: number) => (text: string) =>
    coloured ? `\u001B[${open}m${text}\u001B[${close}m` : text;
  return { bold: wrap(1, 22), dim: wrap(2, 22), red: wrap(31, 39) };
}

/** Columns to fit into. Infinite where the output is no terminal: nothing is cut in a file. */
export function widthOf(output: Output): number {
  return output.isTTY === true ? Math.max(output.columns ?? 80, 20) : Number.POSITIVE_INFINITY;
}
