// What a connection's output holds while the socket takes nothing is drawn from the budget.
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { encodeHeaders } from "../../src/http2/hpack-encoder.ts";
import { defaultHttp2Limits } from "../../src/http2/limits.ts";
import { Output } from "../../src/http2/output.ts";
import { CountingBudget } from "./served.ts";

test("long blocks of headers are drawn from the budget, as all of the output", () => {
  const budget = new CountingBudget();
  const socket = { write: () => false, cork() {}, uncork() {} } as unknown as Socket;
  const limits = { ...defaultHttp2Limits, outputBytesMax: 1_000_000 };
  const connection = { limits, budget, resume() {}, attempt: (work: () => void) => work() };
  const output = new Output(socket, connection as never);
  const value = "a".repeat(4_000);
  for (let id = 1; id < 100; id += 2) {
    output.headers(
      id,
      encodeHeaders([
        [":status", "200"],
        ["x-long", value],
      ]),
      true,
    );
  }
  expect(output.bytes).toBeGreaterThan(50 * 4_000);
  // Heads of frames are small enough to be in the output's own chunk.
  expect(budget.held).toBeGreaterThan(0.9 * output.bytes);
});
