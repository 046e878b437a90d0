// Calls that may be refused, for tests that hand in bytes of all kinds.
import { expect } from "vitest";

/** What the call answers; undefined where it throws an Error. */
export function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return undefined;
  }
}
