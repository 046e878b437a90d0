// A recount of what a group has not read yet, beside a reading that began before events were removed.
import { expect, test } from "vitest";
import type { GroupSettings } from "../../../src/domain/group/settings.ts";
import { tightBounds } from "./histories.ts";
import { recount, removeStream } from "./removal.ts";
import { GroupWorld } from "./world.ts";

const settings: GroupSettings = {
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 10,
  attemptsMax: 1,
  retryDelayMs: 0,
  retryDelayMaxMs: 50,
  inFlightMax: 2,
};

test("an event that a reading found and a removal took is not taken off the recount", () => {
  const world = new GroupWorld(settings, 0, tightBounds);
  const append = (count: number) => {
    for (let i = 0; i < count; i++) world.append({ stream: "a-1", type: "T", tags: [] });
  };
  world.join(0);
  append(3);
  world.feed(3);
  world.permit(0, 1);
  world.deliver();
  world.join(1);
  world.ack([0]);
  world.deliver();
  world.beginReading();
  removeStream(world, "a-1");
  append(1);
  world.ackThrough(7, 0);
  world.feed(1);
  recount(world, 1);
  world.endReading(0, false);
  recount(world, 1);
  expect(world.oracle.faults).toEqual([]);
});
