// A terminal for a command under test: what it prints is kept, what it reads is given.

import { Readable, Writable } from "node:stream";
import { runCommand } from "../../src/cli/run.ts";

export interface Captured {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

export interface Situation {
  readonly input?: Readable | string;
  readonly environment?: Record<string, string>;
  readonly signal?: AbortSignal;
  /** Columns of a terminal; absent: output goes to a file. */
  readonly columns?: number;
  /** Told of every piece of output. */
  readonly onOutput?: (text: string) => void;
  /** Told of every piece of error output. */
  readonly onErrors?: (text: string) => void;
}

class Kept extends Writable {
  text = "";
  readonly columns: number;
  readonly isTTY: boolean;
  private readonly tell: (text: string) => void;

  constructor({ columns, onOutput }: Situation) {
    super({ decodeStrings: true });
    this.columns = columns ?? 0;
    this.isTTY = columns !== undefined;
    this.tell = onOutput ?? (() => {});
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString("utf8");
    this.tell(this.text);
    done();
  }
}

/** Runs `annals ...argv` in this process. */
export async function run(argv: readonly string[], situation: Situation = {}): Promise<Captured> {
  const output = new Kept(situation);
  const errors = new Kept({ ...situation, onOutput: situation.onErrors ?? (() => {}) });
  const { input = "" } = situation;
  const code = await runCommand(argv, {
    input: typeof input === "string" ? Readable.from([Buffer.from(input)]) : input,
    output,
    errors,
    environment: { NO_COLOR: "1", ...situation.environment },
    signal: situation.signal ?? new AbortController().signal,
  });
  return { code, output: output.text, errors: errors.text };
}

/** The JSON lines of an output. */
export function jsonLines(output: string): Record<string, unknown>[] {
  const lines = output.split("\n").filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}
