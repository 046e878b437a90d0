// Finds an event by its id, whatever form the id has and however old the event is.

import { api } from "../wire/api.ts";
import { shownEvent, type ShownEvent } from "./events.ts";

/** Undefined: no event has it. */
export async function findById(id: string, signal: AbortSignal): Promise<ShownEvent | undefined> {
  const { event } = await api.event({ id, view: "VIEW_HEADERS" }, signal);
  return event === undefined ? undefined : shownEvent(event, false);
}
