// A state of the store in which every append fails costs one line of the log for a while, without a
// stack; any other failure has a line of its own.
import { expect, test } from "vitest";
import { AnnalsError, type Reason } from "../../../src/domain/errors.ts";
import { failed } from "../../../src/grpc/transport/call-environment.ts";
import { createLogger } from "../../../src/logger.ts";

function linesOf(fail: (failing: (error: unknown) => void) => void): string[] {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const now = (): Date => new Date(0);
  const logger = createLogger({ level: "info", format: "json", write, now });
  fail((error) => void failed({ logger }, "Append", { peer: "127.0.0.1:1" }, error));
  return lines;
}

test.each(["DISK_FULL", "STORE_FAILED", "OUTCOME_UNKNOWN"] as const)(
  "a thousand appends that fail with %s are one line",
  (reason: Reason) => {
    const lines = linesOf((failing) => {
      for (let i = 0; i < 1_000; i++) {
        const cause = new Error("no space left on device");
        failing(new AnnalsError({ reason, retryAfterMs: 1 } as never, "no append now", cause));
      }
    });
    expect(lines).toHaveLength(1);
    const line = JSON.parse(lines[0] ?? "");
    expect(line).toMatchObject({ reason, why: "no append now", cause: "no space left on device" });
    expect(lines[0]).not.toContain("at ");
  },
);

test("each reason has its line, and so has each failure that nobody expected", () => {
  const lines = linesOf((failing) => {
    failing(new AnnalsError({ reason: "DISK_FULL", retryAfterMs: 1 }, "full"));
    failing(new AnnalsError({ reason: "STORE_FAILED" }, "failed"));
    for (let i = 0; i < 3; i++) failing(new Error("a bug"));
  });
  expect(lines).toHaveLength(5);
  expect(lines[2]).toContain("failure-log.test.ts");
});
