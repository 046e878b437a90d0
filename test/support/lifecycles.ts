// Puts lifecycles into force as the log would, for tests of their effect.
import type { CommitEvent } from "../../src/domain/event.ts";
import {
  noLifecycle,
  noPolicy,
  withDeletion,
  withPolicy,
  type Lifecycle,
  type PolicyChange,
  type StreamPolicy,
} from "../../src/domain/lifecycle/lifecycle.ts";
import { lifecycleEvent } from "../../src/domain/lifecycle/lifecycle-event.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { commitEvents } from "./events.ts";

/** A change of a policy that changes nothing, to be filled in. */
export const noChange: PolicyChange = {
  maxAge: undefined,
  maxCount: undefined,
  truncateBefore: 0,
  labels: undefined,
  clear: [],
};

/** Puts any lifecycle into force, because the engine decides nothing. */
async function setLifecycle(
  storage: Storage,
  stream: string,
  change: (before: { lifecycle: Lifecycle; version: number }) => Lifecycle,
  recordedAt?: number,
): Promise<CommitEvent> {
  const { versions, lifecycles } = await storage.facts({
    streams: [stream],
    ids: [],
    conditions: [],
  });
  const lifecycle = lifecycles.get(stream) ?? noLifecycle;
  const changed = change({ lifecycle, version: versions.get(stream) ?? 0 });
  const type = changed.deletion === lifecycle.deletion ? "$StreamUpdated" : "$StreamDeleted";
  const said = { stream, lifecycle: changed, actor: "", reason: "" };
  const { commit } = await commitEvents(storage, [lifecycleEvent(type, said)], recordedAt);
  return commit.events[0] as CommitEvent;
}

export function setPolicy(
  storage: Storage,
  stream: string,
  policy: Partial<StreamPolicy>,
  now = 0,
): Promise<CommitEvent> {
  return setLifecycle(storage, stream, (before) =>
    withPolicy({ ...before, now }, { ...noPolicy, ...policy }),
  );
}

export function deleteStream(storage: Storage, stream: string): Promise<CommitEvent> {
  const { position } = storage.head();
  return setLifecycle(storage, stream, (before) =>
    withDeletion({ ...before, now: 0 }, { position: position + 1, recordedAt: 0 }, false),
  );
}
