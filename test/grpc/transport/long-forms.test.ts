// What long forms of answers hold while they are made is drawn from the budget, and given back
// however making them ends.
import { expect, test } from "vitest";
import type { Steps } from "../../../src/domain/steps.ts";
import type { Call } from "../../../src/grpc/transport/call-environment.ts";
import type { AnswerFormat } from "../../../src/grpc/transport/call-format.ts";
import { Outgoing } from "../../../src/grpc/transport/outgoing.ts";
import { Turns } from "../../../src/grpc/transport/turns.ts";
import type { Http2Stream } from "../../../src/http2/api.ts";

type Made = () => Steps<Buffer>;

/** A budget of so many bytes, and answers whose forms are made in these steps. */
function outgoingOf(
  bytesMax: number,
  make: Made,
  more = { aborted: false, reason: new Error("unused") },
) {
  const budget = { held: 0, most: 0 };
  const stream = {
    take(bytes: number): boolean {
      if (budget.held + bytes > bytesMax) return false;
      budget.held += bytes;
      budget.most = Math.max(budget.most, budget.held);
      return true;
    },
    release: (bytes: number) => void (budget.held -= bytes),
  } as Partial<Http2Stream> as Http2Stream;
  const gate = { enter: () => undefined, leave: () => {} };
  const call = Object.assign(more, { gate }) as unknown as Call;
  const format = { longForm: make } as Partial<AnswerFormat> as AnswerFormat;
  const environment = { memory: {} as never, longMessages: new Turns(2) };
  return { budget, outgoing: new Outgoing(stream, environment, format, call, () => {}) };
}

function stepsThat(end: () => void): Made {
  return function* () {
    end();
    yield 1;
    throw new Error("went on");
  };
}

const message = Buffer.alloc(100);

function making(bytes: number, between: () => void = () => {}): Made {
  return function* () {
    yield 1;
    between();
    return Buffer.alloc(bytes);
  };
}

test("a form is drawn beside its message from the first step on", async () => {
  const seen: number[] = [];
  const { budget, outgoing } = outgoingOf(
    10_000,
    making(120, () => seen.push(budget.held)),
  );
  await outgoing.ready([message, message]);
  // The messages, and an expected form for each that is begun.
  expect(seen).toEqual([350, 500]);
  expect(budget).toEqual({ held: 0, most: 500 });
});

test("a form that came out longer is drawn whole", async () => {
  const { budget, outgoing } = outgoingOf(10_000, making(600));
  await outgoing.ready([message]);
  expect(budget).toEqual({ held: 0, most: 700 });
});

test.each([
  ["the message", 99],
  ["the expected form", 249],
  ["the form that it became", 699],
])("nothing is held behind a refusal, for want of room for %s", async (_, bytesMax) => {
  const { budget, outgoing } = outgoingOf(bytesMax, making(600));
  await expect(outgoing.ready([message])).rejects.toMatchObject({ reason: "OVERLOADED" });
  expect(budget.held).toBe(0);
});

test("nothing is held where the call ends or the form fails on the way", async () => {
  const reason = new Error("cancelled");
  // It ends between two steps.
  const left = { aborted: false, reason };
  const leaving = outgoingOf(
    10_000,
    stepsThat(() => (left.aborted = true)),
    left,
  );
  const failing = outgoingOf(
    10_000,
    making(600, () => {
      throw new Error("damaged");
    }),
  );
  const gone = outgoingOf(10_000, making(600), { aborted: true, reason });
  await expect(failing.outgoing.ready([message])).rejects.toThrow("damaged");
  await expect(gone.outgoing.ready([message])).rejects.toThrow("cancelled");
  await expect(leaving.outgoing.ready([message])).rejects.toThrow("cancelled");
  for (const { budget } of [failing, gone, leaving]) expect(budget.held).toBe(0);
});
