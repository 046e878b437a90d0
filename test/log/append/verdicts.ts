// What the tests of the append queue share: appends that expect something, outcomes as short words,
// and commits that wait until the test lets them go.
import type { Append, Expected } from "../../../src/domain/append.ts";
import { AnnalsError } from "../../../src/domain/errors.ts";
import type { CommitAnswer } from "../../../src/log/append/append-queue.ts";
import { idOf, newAppend, newEvent } from "../../support/events.ts";
import { type ModelStorage } from "../../support/model-storage.ts";

export const version = (number: number): Expected => ({ kind: "version", version: number });

export function expecting(stream: string, expected: Expected, id?: number): Append {
  const event = newEvent({ stream, ...(id !== undefined && { id: idOf(id) }) });
  return newAppend([event], { expectations: [{ stream, expected }] });
}

/** The kind of the outcome, or the reason it was thrown with. */
export async function verdict(answer: Promise<CommitAnswer>): Promise<string> {
  try {
    const { outcome } = await answer;
    if (outcome.kind !== "appended") return outcome.kind;
    return outcome.deduplicated ? "deduplicated" : `at ${outcome.firstPosition}`;
  } catch (error) {
    return error instanceof AnnalsError ? error.reason : String(error);
  }
}

export function verdicts(answers: Promise<CommitAnswer>[]): Promise<string[]> {
  return Promise.all(answers.map(verdict));
}

/** Holds every commit until the next `release`. */
export function holdCommits(storage: ModelStorage): {
  release: () => void;
  heldCount: () => number;
} {
  const held: (() => void)[] = [];
  storage.control.beforeCommit = () => new Promise<void>((resolve) => held.push(resolve));
  return { release: () => held.shift()?.(), heldCount: () => held.length };
}
