// Times that another system recorded: what becomes of them, and when they are refused.
import { describe, expect, test } from "vitest";
import type { NewEvent } from "../../../src/domain/event.ts";
import { idOf, newAppend, newEvent, type EventSketch } from "../../support/events.ts";
import { Log } from "./decided-log.ts";

describe("times that another system recorded", () => {
  const timed = (recordedAt: number | undefined, sketch: EventSketch = {}): NewEvent => {
    const event = newEvent({ stream: "a", ...sketch });
    return recordedAt === undefined ? event : { ...event, recordedAt };
  };

  test("become those of the records, each event its own", () => {
    const log = new Log();
    const { outcomes, events, times, recordedAt } = log.decide([
      newAppend([timed(5), timed(5), timed(9)]),
      newAppend([timed(12)]),
    ]);
    expect(outcomes).toMatchObject([{ recordedAt: 9 }, { recordedAt: 12 }]);
    expect([times, recordedAt]).toEqual([[5, 5, 9, 12], 12]);
    log.store(events);
    expect(log.events.map((event) => event.recordedAt)).toEqual([5, 5, 9, 12]);
  });

  test("are refused where time would go back, and nothing is stored", () => {
    const log = new Log();
    log.append(newAppend([timed(50)]));
    const { outcomes, events } = log.decide([
      newAppend([timed(49)]),
      newAppend([timed(60), timed(undefined)]),
      newAppend([timed(60)]),
      newAppend([timed(1_000), timed(999)]),
    ]);
    expect(outcomes).toMatchObject([
      { kind: "time-backwards", index: 0, newest: 50 },
      { kind: "appended", recordedAt: 1_000 },
      { kind: "time-backwards", index: 0, newest: 1_000 },
      { kind: "time-backwards", index: 1, newest: 1_000 },
    ]);
    log.store(events);
    expect(log.events.map((event) => event.recordedAt)).toEqual([50, 60, 1_000]);
  });

  test("are never ahead of the clock, and no part of what a retry repeats", () => {
    const log = new Log();
    const event = timed(9_000, { id: idOf(1) });
    expect(log.append(newAppend([event]))).toMatchObject([{ recordedAt: 1_000 }]);
    const again = log.append(newAppend([timed(3, { id: idOf(1) })]));
    expect(again).toMatchObject([{ deduplicated: true, recordedAt: 1_000 }]);
  });

  test("of an event stored by the same commit are told to its retry", () => {
    const event = timed(7, { id: idOf(1) });
    const { outcomes } = new Log().decide([newAppend([event]), newAppend([event])]);
    expect(outcomes).toMatchObject([{ recordedAt: 7 }, { deduplicated: true, recordedAt: 7 }]);
  });
});
