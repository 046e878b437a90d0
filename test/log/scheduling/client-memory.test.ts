// The budget of what is held for clients: who gets, who waits, and who pays when it is short.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ClientMemory, type Share } from "../../../src/log/scheduling/client-memory.ts";
import { handTimers, settled } from "../../support/hand-timers.ts";

const bytesMax = 1_000;
const sureBytes = 50;

/** A connection that gives back what it is asked for, at once or when the test says so. */
class Connection {
  readonly share: Share;
  held = 0;
  asked = 0;
  gives = true;

  constructor(memory: ClientMemory) {
    this.share = memory.open(this);
  }

  take(bytes: number): boolean {
    const isTaken = this.share.take(bytes);
    if (isTaken) this.held += bytes;
    return isTaken;
  }

  give(bytes: number): void {
    this.held -= bytes;
    this.share.give(bytes);
  }

  relieve(bytes: number): void {
    this.asked++;
    if (this.gives) this.give(Math.min(this.held, Math.ceil(bytes)));
  }
}

function opened() {
  const timers = handTimers();
  const memory = new ClientMemory({ bytesMax, sureBytes, timers });
  const after = (ms: number): void => {
    timers.delay(ms, () => {});
    while (timers.next());
  };
  return { memory, timers, after, connect: () => new Connection(memory) };
}

describe("when the budget is short", () => {
  test("the one that holds the most pays, and the asker gets what it asked for", () => {
    const { connect, after } = opened();
    const [large, larger, small] = [connect(), connect(), connect()];
    large.take(300);
    larger.take(680);
    after(1_000);
    expect(small.take(60)).toBe(true);
    expect([large.asked, larger.asked, small.asked]).toEqual([0, 1, 0]);
  });

  test("what is held for long weighs more than a sudden burst", () => {
    const { connect, after } = opened();
    const [idle, burst, other] = [connect(), connect(), connect()];
    idle.take(400);
    after(2_000);
    burst.take(590);
    expect(other.take(60)).toBe(true);
    expect([idle.asked, burst.asked]).toEqual([1, 0]);
  });

  test("the largest holder is refused more, and pays for itself later", async () => {
    const { connect, after } = opened();
    const only = connect();
    only.take(980);
    after(1_000);
    expect(only.take(60)).toBe(false);
    expect(only.asked).toBe(0);
    await settled();
    expect(only.asked).toBe(1);
    expect(only.take(60)).toBe(true);
  });

  test("one that has been asked is not asked again while it lets go", () => {
    const { connect, after } = opened();
    const [slow, other] = [connect(), connect()];
    slow.gives = false;
    slow.take(980);
    after(1_000);
    for (let i = 0; i < 5; i++) expect(other.take(60)).toBe(false);
    expect(slow.asked).toBe(1);
    after(500);
    expect(other.take(60)).toBe(false);
    expect(slow.asked).toBe(2);
  });

  test("a connection within its share is never refused, and never pays", () => {
    const { connect, after } = opened();
    const large = connect();
    large.gives = false;
    large.take(1_000);
    after(1_000);
    const small = Array.from({ length: 10 }, connect);
    for (const each of small) expect(each.take(sureBytes)).toBe(true);
    for (const each of small) expect(each.take(1)).toBe(false);
    expect(small.map(({ asked }) => asked)).toEqual(small.map(() => 0));
  });
});

test("shares of a thousand connections add little to the budget, and each may hold some", () => {
  const KiB = 1024;
  const [most, sure, least] = [8 * KiB * KiB, 96 * KiB, 64 * KiB];
  const timers = handTimers();
  const memory = new ClientMemory({ bytesMax: most, sureBytes: sure, timers });
  const all = Array.from({ length: 1_000 }, () => new Connection(memory));
  for (const each of all) each.gives = false;
  for (let bytes = sure; bytes >= KiB; bytes /= 2) for (const each of all) each.take(bytes);
  for (const each of all) expect(each.held).toBeGreaterThan(least / 2);
  const held = all.reduce((sum, each) => sum + each.held, 0);
  expect(held).toBeLessThanOrEqual(most * 1.25 + sure + all.length * least);
  expect(all.some(({ asked }) => asked > 0)).toBe(true);
});

describe("while much is held", () => {
  test("a connection beyond its share waits until it holds less", async () => {
    const { memory, connect } = opened();
    const [large, small] = [connect(), connect()];
    large.gives = false;
    large.take(600);
    expect(memory.isLarge).toBe(true);
    expect(memory.room(small)).toBeUndefined();
    let isIn = false;
    void memory.room(large)?.then(() => (isIn = true));
    await settled();
    expect(isIn).toBe(false);
    large.give(560);
    await settled();
    expect(isIn).toBe(true);
  });

  test("the largest pays now and then, as long as somebody waits", async () => {
    const { memory, timers, connect } = opened();
    const [large, waiting] = [connect(), connect()];
    large.take(500);
    waiting.take(100);
    const room = memory.room(waiting);
    expect(room).toBeInstanceOf(Promise);
    for (let i = 0; i < 5; i++) {
      timers.next();
      await settled();
    }
    await room;
    expect(large.asked).toBeGreaterThan(0);
    expect(waiting.asked).toBe(0);
    // Nobody waits any more.
    while (timers.next());
    expect(timers.waiting()).toEqual([]);
  });
});

test("whatever happens, no more is held than the budget or the shares of all", () => {
  const step = fc.record({
    who: fc.nat({ max: 4 }),
    bytes: fc.integer({ min: 1, max: 400 }),
    kind: fc.constantFrom("take" as const, "give" as const, "wait" as const),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const { memory, connect, after } = opened();
      const all = Array.from({ length: 5 }, connect);
      for (const { who, bytes, kind } of steps) {
        const one = all[who] as Connection;
        if (kind === "take") one.take(bytes);
        else if (kind === "give") one.give(Math.min(bytes, one.held));
        else after(bytes);
        const held = all.reduce((sum, each) => sum + each.held, 0);
        expect(memory.bytes).toBe(held);
        expect(held).toBeLessThanOrEqual(bytesMax + all.length * sureBytes);
      }
      for (const one of all) one.give(one.held);
      expect(memory.bytes).toBe(0);
    }),
  );
});
