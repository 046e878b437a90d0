// What a connection's output holds while the socket takes nothing is drawn from the budget, and
// what a client gives it to send costs little.
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { encodeHeaders } from "../../src/http2/hpack-encoder.ts";
import { defaultHttp2Limits } from "../../src/http2/limits.ts";
import { Output } from "../../src/http2/output.ts";
import { CountingBudget } from "./served.ts";

const limits = { ...defaultHttp2Limits, outputBytesMax: 1_000_000 };
const socketOf = (write: () => boolean) => ({ write, cork() {}, uncork() {} }) as unknown as Socket;
const connectionWith = (budget: CountingBudget) =>
  ({ options: { limits }, budget, resume() {}, attempt: (work: () => void) => work() }) as never;

test("windows that open byte by byte in one turn make it look at each answer few times", async () => {
  const output = new Output(
    socketOf(() => true),
    connectionWith(new CountingBudget()),
  );
  output.sendWindow = 0;
  let [looks, sent] = [0, 0];
  for (let id = 1; id < 2_000; id += 2) {
    const answer = {
      id,
      sendWindow: 100,
      unsentBytes: 100,
      get isBlocked() {
        looks++;
        return output.sendWindow <= 0;
      },
      send() {
        if (output.sendWindow <= 0) return output.enqueue(answer);
        output.sendWindow--;
        sent++;
        output.enqueue(answer);
      },
      onSent() {},
    };
    output.enqueue(answer);
  }
  looks = 0;
  for (let i = 0; i < 1_000; i++) output.widen([output], 1);
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(sent).toBe(1_000);
  // 1,000 answers, not 1,000 answers for each of 1,000 frames.
  expect(looks).toBeLessThan(20_000);
});

test("long blocks of headers are drawn from the budget, as all of the output", () => {
  const budget = new CountingBudget();
  const output = new Output(
    socketOf(() => false),
    connectionWith(budget),
  );
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
