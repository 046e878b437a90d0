// The streams and environment of a command: those of the process, or those of a test. Output waits
// for its reader. Colours and progress appear only on terminals.

import { createReadStream } from "node:fs";
import { addAbortSignal, type Readable, type Writable } from "node:stream";
import { escaped } from "../../escape.ts";

export interface Output extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

export interface Terminal {
  readonly input: Readable;
  readonly output: Output;
  readonly errors: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Aborted by the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** `--wide`: values are not cut, and tables have all columns. */
  readonly isWide?: boolean;
  /** `--output json`: what has several rows is one array. */
  readonly isArray?: boolean;
}

/** Nothing reads the output any more, as when the other end of a pipe closes. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

/** Ctrl-C was pressed. */
class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** The process's own terminal. The first signal aborts the command, the second ends the process. */
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

/** Outputs that have an error listener. The callback of a write gets its error too. */
const guarded = new WeakSet<Output>();

/** Prints a sentence for people on a line of its own, escaped. */
export function say(output: Output, sentence: string): Promise<void> {
  return print(output, `${escaped(sentence)}\n`);
}

/**
 * Writes the text and waits until it is handed on. Throws `OutputClosed` if nothing reads the
 * output. Stored text in it must already be escaped.
 */
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

/** The bytes of a file, or of standard input if the path is `-`. Ctrl-C ends the wait for them. */
export function inputOf(path: string, terminal: Terminal): AsyncIterable<Buffer> {
  const input = path === "-" ? terminal.input : createReadStream(path);
  return addAbortSignal(terminal.signal, input) as AsyncIterable<Buffer>;
}

export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
}

/** Colours if the output is a terminal that wants them, otherwise none. */
export function paintFor(output: Output, terminal: Terminal): Paint {
  const { NO_COLOR, TERM } = terminal.environment;
  const coloured = output.isTTY === true && !NO_COLOR && TERM !== "dumb";
  const wrap = (open: number, close: number) => (text: string) =>
    coloured ? `\u001B[${open}m${text}\u001B[${close}m` : text;
  return { bold: wrap(1, 22), dim: wrap(2, 22), red: wrap(31, 39) };
}

/**
 * The width of the output in columns. Infinite if it is not a terminal, so that nothing is cut in a
 * file.
 */
export function widthOf(output: Output): number {
  return output.isTTY === true ? Math.max(output.columns ?? 80, 20) : Number.POSITIVE_INFINITY;
}
