// Answers of unknown size are made a few at a time, and connections take turns.
import { expect, test } from "vitest";
import { LargeAnswers } from "../../../src/grpc/transport/large-answers.ts";
import { settled } from "../../support/hand-timers.ts";

interface Asker {
  gate: object;
  aborted: boolean;
  reason: Error | undefined;
  room(): Promise<void> | undefined;
}

const asker = (gate: object): Asker => ({
  gate,
  aborted: false,
  reason: undefined,
  room: () => undefined,
});

test("four are made at a time; another connection waits for one of them, not for all", async () => {
  const answers = new LargeAnswers();
  const [crowd, other] = [{}, {}];
  const made: string[] = [];
  const ends: (() => void)[] = [];
  const make = (name: string, gate: object): void => {
    void answers.make(asker(gate), async () => {
      made.push(name);
      await new Promise<void>((resolve) => ends.push(resolve));
    });
  };
  for (let i = 0; i < 100; i++) make(`crowd ${i}`, crowd);
  await settled();
  make("other", other);
  await settled();
  expect(made).toEqual(["crowd 0", "crowd 1", "crowd 2", "crowd 3"]);
  for (let i = 0; i < 2; i++) {
    ends.shift()?.();
    await settled();
  }
  expect(made.slice(4)).toEqual(["crowd 4", "other"]);
});

test("one that nobody wants any more, or nobody takes, is not made", async () => {
  const answers = new LargeAnswers();
  const ends = await Promise.all(Array.from({ length: 4 }, () => answers.turn(asker({}))));
  const left = asker({});
  const made: string[] = [];
  const make = async (call: Asker, name: string): Promise<void> => {
    await answers.make(call, () => Promise.resolve(made.push(name)));
  };
  const refused = make(left, "left");
  left.aborted = true;
  left.reason = new Error("cancelled");
  let take = (): void => {};
  const stalled = asker({});
  stalled.room = () => new Promise((resolve) => (take = resolve));
  const taken = make(stalled, "stalled");
  for (const end of ends) end();
  await expect(refused).rejects.toThrow("cancelled");
  await settled();
  expect(made).toEqual([]);
  take();
  await taken;
  expect(made).toEqual(["stalled"]);
});
