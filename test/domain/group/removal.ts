// Events of a world that a lifecycle removes, and what a group is told of it.
import { matches } from "../../../src/domain/query.ts";
import type { GroupWorld } from "./world.ts";

/** Removes every event of a stream, at once. */
export function removeStream({ log, removed }: GroupWorld, stream: string): void {
  for (const event of log) if (event.stream === stream) removed.add(event.position);
}

/** The group forgets what is removed of the events that wait. */
export function lookAtRemoved(world: GroupWorld): void {
  const { group, oracle, removed, unsent, now } = world;
  const events = group.held.unsent().filter(({ position }) => removed.has(position));
  const held = unsent.filter(({ event, token }) => {
    return events.includes(event) && oracle.memberOf(token) !== undefined;
  });
  for (const { token } of held) oracle.vanished(token);
  group.held.removed(events, now);
}

/**
 * Events that are not known are counted anew, some of them at a time; the count is right in the end
 * unless more were removed meanwhile.
 */
export function recount(world: GroupWorld, countMax: number): void {
  const { group, log, removed } = world;
  if (world.recounted?.epoch !== group.epoch) world.recounted = undefined;
  const { epoch } = group;
  world.recounted ??= { after: group.held.beginRecount(), epoch, removedCount: removed.size };
  const { after, removedCount } = world.recounted;
  if (after !== undefined) {
    const through = Math.min(after + countMax, group.through);
    const left = log.filter((event) => {
      const isRead = event.position > after && event.position <= through;
      return isRead && matches(group.settings.query, event) && !removed.has(event.position);
    });
    group.held.recount(left, through);
    if (through < group.through)
      return void (world.recounted = { ...world.recounted, after: through });
  }
  world.recounted = undefined;
  lookAtRemoved(world);
  if (removed.size === removedCount) world.checkCount();
}
