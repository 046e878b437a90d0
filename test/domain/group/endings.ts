// How a history of a group ends: with a member that deals with all that is left, or with none.
import { expect } from "vitest";
import { lookAtRemoved } from "./removal.ts";
import type { GroupWorld } from "./world.ts";

/** Everything works from now on: until nothing is left to do. */
export function finish(world: GroupWorld): void {
  const { oracle, members, unsent } = world;
  world.join(6);
  for (const id of members) world.group.permit(id, 6);
  for (let idle = 0; idle < 3; idle++) {
    const before = signatureOf(world);
    for (let round = 0; round < 20; round++) {
      readOn(world);
      world.deliver();
      while (unsent.length > 0) world.send(0);
      world.ack(oracle.heldTokens.map((_, i) => i));
      world.beginWrite();
      world.endWrite("written", true);
      for (const id of members) world.group.heard(id);
      world.pass(1);
      world.check();
    }
    world.pass(100_000);
    if (signatureOf(world) !== before) idle = -1;
  }
}

/** No member is left: only an event that is in the log holds back the group's position. */
export function rest(world: GroupWorld): void {
  while (world.members.size > 0) world.leave(0, false);
  while (world.unsent.length > 0) world.send(0);
  for (let round = 0; round < 150; round++) {
    readOn(world);
    world.beginWrite();
    world.endWrite("written", true);
  }
  const { group, oracle } = world;
  const [first = Infinity] = oracle.owed;
  expect(group.position).toBe(Math.min(first - 1, group.through));
}

function readOn(world: GroupWorld): void {
  world.feed(50);
  world.beginReading();
  world.endReading(0, false);
  lookAtRemoved(world);
}

function signatureOf({ oracle, group }: GroupWorld): string {
  return `${oracle.owed.length} ${oracle.replayed.length} ${group.position}`;
}
