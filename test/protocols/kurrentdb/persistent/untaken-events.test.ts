// A consumer of a persistent subscription that takes nothing: what is held for it is drawn from the
// budget of its call, and no more is taken from the group.
import { setImmediate as turn } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { AnnalsError } from "../../../../src/domain/errors.ts";
import { composeFrame, recordsIn } from "../../../../src/domain/record.ts";
import type { GroupMember, MemberMessage, MemberRequest } from "../../../../src/log/group-verbs.ts";
import { Consumer } from "../../../../src/protocols/kurrentdb/persistent/consumer.ts";
import { SubscriptionHub } from "../../../../src/protocols/kurrentdb/persistent/hub.ts";
import type { SubscriptionSettings } from "../../../../src/protocols/kurrentdb/persistent/settings.ts";
import type { EventStream } from "../../../../src/protocols/kurrentdb/read/event-stream.ts";
import { newEvent } from "../../../support/events.ts";

const eventBytes = 100_000;
const eventCount = 200;

function recordAt(position: number): Uint8Array {
  const { body } = newEvent({ stream: "s", data: Buffer.alloc(eventBytes) });
  const [record] = recordsIn(composeFrame(body, position, position, 1));
  return record as Uint8Array;
}

/** Delivers an event after the other, as fast as they are taken. */
class Member implements GroupMember {
  readonly leaseMs = 1_000;
  readonly requests: MemberRequest[] = [];
  delivered = 0;
  private isOver = false;

  async *messages(): AsyncIterable<MemberMessage> {
    while (this.delivered < eventCount && !this.isOver) {
      const position = ++this.delivered;
      const delivery = { token: `t${position}`, attempt: 1, position, record: recordAt(position) };
      yield { kind: "deliveries", deliveries: [delivery] } as unknown as MemberMessage;
    }
  }

  handle(request: MemberRequest): undefined {
    this.requests.push(request);
  }

  finish(): void {}

  leave(): void {
    this.isOver = true;
  }
}

class QuietMember extends Member {
  override messages(): AsyncIterable<MemberMessage> {
    const next = () => new Promise<never>(() => {});
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }
}

class Budget {
  held = 0;
  highest = 0;
  readonly max: number;

  constructor(max = Infinity) {
    this.max = max;
  }

  hold(bytes: number): void {
    if (this.held + bytes > this.max) {
      throw new AnnalsError({ reason: "OVERLOADED", retryAfterMs: 1 }, "no room");
    }
    this.held += bytes;
    this.highest = Math.max(this.highest, this.held);
  }

  release(bytes: number): void {
    this.held -= bytes;
  }
}

const settings = { strategy: "RoundRobin", source: "s", group: "g" } as SubscriptionSettings;
const events = {
  one: (record: Uint8Array) => Promise.resolve({ record, link: undefined, position: at(record) }),
} as unknown as EventStream;

let last = 0;
const places = new WeakMap<Uint8Array, number>();
function at(record: Uint8Array): number {
  if (!places.has(record)) places.set(record, ++last);
  return places.get(record) as number;
}

async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await turn();
}

const somebody = { peer: "", connectionName: "", user: "" };

test("holds a few of its events, and is given the others when it takes these", async () => {
  const member = new Member();
  const hub = new SubscriptionHub(settings, member, events, () => {});
  const budget = new Budget();
  const consumer = new Consumer(somebody, 10_000, budget);
  hub.join(consumer);
  await settled();
  const untaken = member.delivered;
  expect(untaken).toBeLessThan(8);
  expect(budget.held).toBeGreaterThan(eventBytes);
  let taken = 0;
  while (taken < eventCount) taken += (await consumer.next())?.length ?? Infinity;
  expect(taken).toBe(eventCount);
  expect(member.delivered).toBe(eventCount);
  expect(budget.held).toBe(0);
  expect(budget.highest).toBeLessThan(8 * eventBytes);
  // What was sent is in flight, and nothing but its name is kept of it.
  expect(consumer.held.size).toBe(eventCount);
  for (const held of consumer.held.values()) expect(held).not.toHaveProperty("record");
  hub.leave(consumer);
});

test("does not keep its events from another consumer", async () => {
  const member = new Member();
  const hub = new SubscriptionHub(settings, member, events, () => {});
  const [slow, quick] = [
    new Consumer(somebody, 10, new Budget()),
    new Consumer(somebody, 1_000, new Budget()),
  ];
  hub.join(slow);
  hub.join(quick);
  let taken = 0;
  while (member.delivered < eventCount) taken += (await quick.next())?.length ?? Infinity;
  expect(taken).toBeGreaterThan(eventCount - 20);
  hub.leave(slow);
  hub.leave(quick);
});

test("ends where the budget has no room for an event, which is delivered again", async () => {
  const member = new Member();
  const hub = new SubscriptionHub(settings, member, events, () => {});
  const consumer = new Consumer(somebody, 10, new Budget(eventBytes / 2));
  hub.join(consumer);
  await expect(consumer.next()).rejects.toThrow("no room");
  hub.leave(consumer);
  await settled();
  expect(member.delivered).toBeLessThan(8);
});

test("is heard of where it holds nothing that is known, as a lease may have run out", () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const member = new QuietMember();
  const hub = new SubscriptionHub(settings, member, events, () => {});
  const consumer = new Consumer(somebody, 1, new Budget());
  hub.join(consumer);
  vi.advanceTimersByTime(1_000);
  const permits = { kind: "permits", count: 0 };
  expect(member.requests.slice(1)).toEqual([permits, permits, permits, permits]);
  hub.leave(consumer);
  vi.advanceTimersByTime(1_000);
  expect(member.requests).toHaveLength(5);
  vi.useRealTimers();
});
