// A source that is not reached: people are told to look at the source, and not at `--address`.
import { expect, test } from "vitest";
import { CallError } from "../../../src/client/rpc/call-error.ts";
import { isTemporaryCall, withOwnHints } from "../../../src/cli/import/source-failure.ts";
import type { EventSource } from "../../../src/cli/import/source.ts";

const failing = (thrown: Error): EventSource =>
  withOwnHints({
    name: "kurrentdb://host:2113",
    kind: "kurrentdb",
    idKey: "kurrentdb-id",
    async head() {
      throw thrown;
    },
    // eslint-disable-next-line require-yield
    async *read() {
      throw thrown;
    },
    isTemporary: isTemporaryCall,
    async close() {},
  });

const { signal } = new AbortController();
const failureOf = async (source: EventSource): Promise<Error[]> => {
  const read = source.read({ after: undefined, isLive: false, signal });
  const all = [source.head(signal), read[Symbol.asyncIterator]().next()];
  const settled = await Promise.allSettled(all);
  return settled.map((each) => (each.status === "rejected" ? (each.reason as Error) : new Error()));
};

test("a source that is not reached is told by itself, and tried again", async () => {
  const error = new CallError(14, "no server at host:2113: refused", { reason: "NO_CONNECTION" });
  const source = failing(error);
  for (const failure of await failureOf(source)) {
    expect(failure.message).toMatch(/^no server at host:2113: refused\nis the source running/);
    expect(source.isTemporary(failure)).toBe(true);
  }
});

test("other failures of a source stay as they are", async () => {
  const error = new CallError(3, "no", { reason: "INVALID_FIELD", violations: [] });
  const source = failing(error);
  for (const failure of await failureOf(source)) {
    expect(failure).toBe(error);
    expect(source.isTemporary(failure)).toBe(false);
  }
});
