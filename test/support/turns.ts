// Counts the turns of the event loop, for tests of what lets others have the thread in between.
import { onTestFinished } from "vitest";

/** The number of turns since this was called, until the test ends. */
export function countTurns(): () => number {
  let turns = 0;
  const count = (): void => {
    turns++;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  onTestFinished(() => clearImmediate(immediate));
  return () => turns;
}
