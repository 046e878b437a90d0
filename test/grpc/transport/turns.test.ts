// Work of which only so much is under way at a time: connections take turns, and who has left is
// passed over.
import { expect, test } from "vitest";
import { Turns } from "../../../src/grpc/transport/turns.ts";

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test("two at a time, by connection in turns, and none whose call is over", async () => {
  const turns = new Turns(2);
  const many = { gate: {}, aborted: false, reason: undefined };
  const one = { gate: {}, aborted: false, reason: undefined };
  const gone = { gate: {}, aborted: true, reason: new Error("gone") };
  const order: string[] = [];
  const ends: (() => void)[] = [];
  const work = (name: string) => (): Promise<void> => {
    order.push(name);
    return new Promise((resolve) => ends.push(resolve));
  };
  for (let i = 0; i < 4; i++) void turns.make(many, work(`many ${i}`));
  void turns.make(one, work("one"));
  const left = turns.make(gone, work("gone"));
  left.catch(() => {});
  await settled();
  expect(order).toEqual(["many 0", "many 1"]);
  ends.shift()?.();
  await settled();
  expect(order.at(-1)).toBe("many 2");
  ends.shift()?.();
  await settled();
  // The other connection comes before the last one of the first.
  expect(order.slice(3)).toEqual(["one"]);
  ends.shift()?.();
  await expect(left).rejects.toThrow("gone");
  await settled();
  expect(order.slice(4)).toEqual(["many 3"]);
});
