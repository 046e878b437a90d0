// The extra statistics of a persistent subscription: how long its consumer took.
import { expect, test } from "vitest";
import { HandlingTimes } from "../../../../src/protocols/kurrentdb/persistent/handling-times.ts";

const told = (times: HandlingTimes) =>
  Object.fromEntries(times.measurements().map(({ key, value }) => [key, Number(value)]));

test("nothing is told of nothing", () => {
  expect(new HandlingTimes().measurements()).toEqual([]);
});

test("of 1 to 100 ms in any order, each share is told", () => {
  const times = new HandlingTimes();
  for (let i = 0; i < 100; i++) times.record(((i * 37) % 100) + 1);
  expect(told(times)).toEqual({
    Mean: 51,
    Median: 50,
    Fastest: 1,
    "Quintile 1": 20,
    "Quintile 2": 40,
    "Quintile 3": 60,
    "Quintile 4": 80,
    "Quintile 5": 100,
    "90%": 90,
    "95%": 95,
    "99%": 99,
    "99.5%": 100,
    "99.9%": 100,
    Highest: 100,
  });
});

test("only the last thousand count", () => {
  const times = new HandlingTimes();
  times.record(9_999);
  for (let i = 0; i < 1_000; i++) times.record(3);
  expect(told(times)).toMatchObject({ Mean: 3, Fastest: 3, Highest: 3 });
});
