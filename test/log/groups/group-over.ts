// What the tests of groups over the log share: a log with some events and a group "g" over it.
import type { GroupSettings } from "../../../src/domain/group/settings.ts";
import type { Query } from "../../../src/domain/query.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { appendAll, openLog, type Opened } from "../harness.ts";

export const settings: GroupSettings = {
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 30_000,
  attemptsMax: 3,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 60_000,
  inFlightMax: 1_000,
};
export const begin = { kind: "after-position", position: 0 } as const;
export const ofTypes = (...types: string[]): Query => {
  return { items: [{ streams: [], streamPrefixes: [], types, tags: [], tagsAny: [] }] };
};

/** Appends an event to each stream named: `aab` is two to a and one to b. */
export async function append(log: EventLog, streams: string, type = "T"): Promise<void> {
  await appendAll(log, ...streams.split("").map((stream) => ({ stream, type })));
}

export async function groupOver(
  streams: string,
  changes: Partial<GroupSettings> = {},
  storage?: ModelStorage,
): Promise<Opened> {
  const opened = openLog(storage === undefined ? {} : { storage });
  await append(opened.log, streams);
  await opened.log.groups.create("g", { ...settings, ...changes }, begin);
  return opened;
}

/** The same store in a new process. */
export function restarted({ storage }: Opened): Opened {
  return openLog({ storage: createModelStorage({ data: storage.data }) });
}

/** Why it failed; undefined: it did not. */
export const reasonOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => undefined,
    (error: { reason?: string; message: string }) => error.reason ?? error.message,
  );
