// Regular expressions of clients, as tests of names. Clients write them for .NET and use look-
// ahead, so a backtracking engine has to run them, and a hostile pattern may take for ever.
// Therefore the usual patterns are recognised as prefixes. All others run in a thread of their own
// that is ended after a time, and each distinct name is tested once.

import { Worker } from "node:worker_threads";
import { invalidArgument } from "../mapping/errors.ts";

/** Tests names. `undefined` from `known`: the name has to be tested first. */
export interface Pattern {
  known(name: string): boolean | undefined;
  /** Throws INVALID_ARGUMENT if the test takes too long. */
  test(names: readonly string[]): Promise<void>;
}

const patternLengthMax = 4_096;
/** For a few hundred names. A sensible pattern takes a thousandth of it. */
const testMsMax = 2_000;
const namesMax = 256;
const verdictsMax = 20_000;

/** Throws INVALID_ARGUMENT. */
export function patternOf(source: string): Pattern {
  if (source.length > patternLengthMax) {
    throw invalidArgument(`the regular expression is longer than ${patternLengthMax}`);
  }
  const test = plainTest(source);
  if (test !== undefined) return { known: test, test: () => Promise.resolve() };
  const flags = checkedFlags(source);
  return new TestedPattern(flags.source, flags.flags);
}

/** Names that begin with one of these. A look at one costs the logarithm of how many they are. */
export function prefixPattern(prefixes: readonly string[]): Pattern {
  // Without those that another one is a prefix of: they are right behind it.
  const sorted: string[] = [];
  for (const prefix of prefixes.toSorted(byCodeUnits)) {
    const before = sorted.at(-1);
    if (before === undefined || !prefix.startsWith(before)) sorted.push(prefix);
  }
  const known = (name: string): boolean => {
    let [from, to] = [0, sorted.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((sorted[middle] as string) <= name) from = middle + 1;
      else to = middle;
    }
    // The last one that is not behind the name: whatever is between a prefix and the name has it.
    const last = sorted[from - 1];
    return last !== undefined && name.startsWith(last);
  };
  return { known, test: () => Promise.resolve() };
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const literal = /^\^((?:[\w\s@:;,!<>='"%&~/-]|\\[$.^*+?()[\]{}|/\\-])*)(?:\.\*)?$/;

function plainTest(source: string): ((name: string) => boolean) | undefined {
  switch (source) {
    case "^[^$].*":
    case String.raw`^[^\$].*`:
      return (name) => name !== "" && !name.startsWith("$");
    case String.raw`^(?!\$).*`:
    case String.raw`^(?!\$)`:
      return (name) => !name.startsWith("$");
  }
  const prefix = literal.exec(source)?.[1]?.replaceAll(/\\(.)/g, "$1");
  return prefix === undefined ? undefined : (name) => name.startsWith(prefix);
}

/** .NET's `(?i)` at the beginning is a flag here. Throws INVALID_ARGUMENT. */
function checkedFlags(source: string): { source: string; flags: string } {
  const inline = /^\(\?([imsn]+)\)/.exec(source);
  const flags = (inline?.[1] ?? "").replaceAll("n", "");
  const rest = source.slice(inline?.[0].length ?? 0);
  for (const all of [`${flags}u`, flags]) {
    try {
      if (new RegExp(rest, all).source !== "") return { source: rest, flags: all };
    } catch (error) {
      // An escape that Unicode patterns refuse may still be meant.
      if (all !== flags) continue;
      throw invalidArgument(`the regular expression is invalid: ${(error as Error).message}`);
    }
  }
  throw invalidArgument("the regular expression is empty");
}

class TestedPattern implements Pattern {
  private readonly source: string;
  private readonly flags: string;
  private readonly verdicts = new Map<string, boolean>();

  constructor(source: string, flags: string) {
    this.source = source;
    this.flags = flags;
  }

  known(name: string): boolean | undefined {
    return this.verdicts.get(name);
  }

  async test(names: readonly string[]): Promise<void> {
    const { source, flags, verdicts } = this;
    if (verdicts.size + names.length > verdictsMax) verdicts.clear();
    for (let at = 0; at < names.length; at += namesMax) {
      const some = names.slice(at, at + namesMax);
      const matches = await tester.test({ source, flags, names: some });
      some.forEach((name, i) => verdicts.set(name, matches[i] === true));
    }
  }
}

interface Question {
  readonly source: string;
  readonly flags: string;
  readonly names: readonly string[];
}

const thread = `
const { parentPort } = require("node:worker_threads");
parentPort.on("message", ({ source, flags, names }) => {
  const pattern = new RegExp(source, flags);
  parentPort.postMessage(names.map((name) => pattern.test(name)));
});
parentPort.postMessage("ready");
`;

/** Asks the thread one question after another. It is started when there is one. */
class Tester {
  private worker: Promise<Worker> | undefined;
  private last: Promise<unknown> = Promise.resolve();

  test(question: Question): Promise<readonly boolean[]> {
    const answer = this.last.then(() => this.ask(question));
    this.last = answer.catch(() => {});
    return answer;
  }

  private async ask(question: Question): Promise<readonly boolean[]> {
    const worker = await (this.worker ??= started());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.end(worker);
        reject(invalidArgument("the regular expression takes too long to match"));
      }, testMsMax);
      worker.once("message", (matches: readonly boolean[]) => {
        clearTimeout(timer);
        worker.removeAllListeners("error");
        resolve(matches);
      });
      worker.once("error", (error) => {
        clearTimeout(timer);
        this.end(worker);
        reject(error);
      });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin
      worker.postMessage(question);
    });
  }

  private end(worker: Worker): void {
    this.worker = undefined;
    worker.removeAllListeners();
    // What is left of the thread is nobody's concern.
    worker.on("error", () => {});
    void worker.terminate();
  }
}

/**
 * The time of a test does not include that of a start. The thread does not keep the process alive.
 */
function started(): Promise<Worker> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(thread, { eval: true });
    worker.unref();
    worker.once("error", reject);
    worker.once("message", () => {
      worker.removeAllListeners("error");
      resolve(worker);
    });
  });
}

const tester = new Tester();
