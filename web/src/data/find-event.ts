// Finds an event by its id. The server has no call for it yet: an id of version 7 has a time in it,
// near which the event was stored, if its client made the id when it appended.

import { readPage, type ShownEvent } from "./events.ts";

const spanMs = 60_000;
const eventsMax = 5_000;

/** Undefined: not found. */
export async function findById(id: string, signal: AbortSignal): Promise<ShownEvent | undefined> {
  if (id[14] !== "7") return undefined;
  const atMs = Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16);
  const time = (ms: number) => new Date(Math.max(0, ms)).toISOString();
  const request = {
    fromTime: time(atMs - 1_000),
    toTime: time(atMs + spanMs),
    limit: `${eventsMax}`,
    view: "VIEW_HEADERS" as const,
  };
  const { events } = await readPage(request, signal);
  return events.find((event) => event.id === id);
}
