// Dynamic consistency boundaries: conditions on any query.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  asyncRetry,
  CommandHandlerStreamVersionConflictRetryOptions,
  ConcurrencyError,
  isExpectedVersionConflictError,
  type Event,
} from "@event-driven-io/emmett";
import { newEventId } from "annals-client";
import { annals } from "./shopping.js";

type Subscribed = Event<"StudentSubscribed", { student: string; course: string }>;
const subscribed = (student: string, course: string): Subscribed => {
  return { type: "StudentSubscribed", data: { student, course } };
};

const store = annals({
  tags: ({ data }: any) => [`student:${data.student}`, `course:${data.course}`],
});
const count = { evolve: (n: number) => n + 1, initialState: () => 0 };

describe("conditions", () => {
  test("protect a decision on everything that a query finds", async () => {
    const [course, one, other] = [newEventId(), newEventId(), newEventId()];
    const query = { types: ["StudentSubscribed"], tags: [`course:${course}`] };
    const empty = await store.aggregateQuery<number, Subscribed>(query, count);
    assert.equal(empty.state, 0);
    const { condition } = empty;
    await store.appendToStream(`student-${one}`, [subscribed(one, course)], { condition });
    const late = store.appendToStream(`student-${other}`, [subscribed(other, course)], {
      condition,
    });
    await assert.rejects(late, (error) => {
      assert.ok(error instanceof ConcurrencyError && isExpectedVersionConflictError(error));
      assert.match(error.message, /the condition does not hold/);
      return true;
    });
    assert.equal(await store.streamExists(`student-${other}`), false);
    const elsewhere = { types: ["StudentSubscribed"], tags: [`course:${newEventId()}`] };
    const free = await store.aggregateQuery<number, Subscribed>(elsewhere, count);
    await store.appendToStream(`student-${other}`, [subscribed(other, course)], free);
    assert.equal((await store.aggregateQuery<number, Subscribed>(query, count)).state, 2);
  });

  test("hold beside an expected version", async () => {
    const [course, student] = [newEventId(), newEventId()];
    const { condition } = await store.aggregateQuery({ tags: [`course:${course}`] }, count);
    const options = { condition, expectedStreamVersion: 1n as never };
    const appending = store.appendToStream(`s-${student}`, [subscribed(student, course)], options);
    await assert.rejects(appending, /Expected version 1 does not match current 0/);
  });

  test("let six of ten at once into a course of six, each tried again", async () => {
    const course = newEventId();
    const query = { types: ["StudentSubscribed"], tags: [`course:${course}`] };
    const subscribe = async (student: string) => {
      const { state, condition } = await store.aggregateQuery(query, count);
      if (state === 6) return false;
      const events = [subscribed(student, course)];
      await store.appendToStream(`student-${student}`, events, { condition });
      return true;
    };
    const retries = { ...CommandHandlerStreamVersionConflictRetryOptions, retries: 100 };
    const options = { ...retries, minTimeout: 1, factor: 1 };
    const student = () => asyncRetry(() => subscribe(newEventId()), options);
    const outcomes = await Promise.all(Array.from({ length: 10 }, student));
    assert.equal(outcomes.filter(Boolean).length, 6);
    assert.equal((await store.aggregateQuery(query, count)).state, 6);
  });

  test("concern events of no stream too", async () => {
    const [course, student] = [newEventId(), newEventId()];
    await store.appendToStream("", [subscribed(student, course)]);
    const seen = await store.aggregateQuery<unknown[], Subscribed>(
      { tags: [`course:${course}`] },
      {
        evolve: (all: unknown[], event: any) => [...all, event.metadata.streamName],
        initialState: () => [],
      },
    );
    assert.deepEqual(seen.state, [""]);
  });
});
