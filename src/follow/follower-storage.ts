// The storage of a follower: reads are those of its copy, as long as that is whole. Nothing is
// written but what the leader sends.

import { AnnalsError } from "../domain/errors.ts";
import type { CopyTarget, FollowStatus } from "../storage/copy.ts";
import type { Batch, Storage } from "../storage/storage.ts";

/** Throws COPY_INCOMPLETE. */
export function requireWhole({ isWhole }: CopyTarget, leader: string): void {
  if (isWhole) return;
  const message = `the copy of this follower is not whole yet: read from ${leader}, or later`;
  throw new AnnalsError({ reason: "COPY_INCOMPLETE", leader }, message);
}

export function followerStorage(
  storage: Storage,
  target: CopyTarget,
  status: () => FollowStatus,
): Storage {
  const { leader } = status();
  const require = (): void => requireWhole(target, leader);
  const whole = async <T>(ask: () => Promise<T>): Promise<T> => {
    require();
    return ask();
  };
  return {
    ...storage,
    following: status,
    writeState() {
      const state = storage.writeState();
      return state === "accepting" ? "following" : state;
    },
    commit: () => Promise.reject(new Error("a follower commits nothing by itself")),
    read: (request) => wholeBatches(storage.read(request), require),
    sideValues: {
      get: (space, names) => whole(() => storage.sideValues.get(space, names)),
      list: (page) => whole(() => storage.sideValues.list(page)),
    },
    facts: (request) => whole(() => storage.facts(request)),
    areRemoved: (events) => whole(() => storage.areRemoved(events)),
    positionAt: (time) => whole(() => storage.positionAt(time)),
    stream: (name) => whole(() => storage.stream(name)),
    listStreams: (page) => whole(() => storage.listStreams(page)),
    listEventTypes: (page) => whole(() => storage.listEventTypes(page)),
    copy: (start, signal) => wholeCopy(storage, start, signal, require),
  };
}

async function* wholeBatches(
  batches: AsyncIterable<Batch>,
  require: () => void,
): AsyncGenerator<Batch> {
  require();
  for await (const batch of batches) {
    require();
    yield batch;
  }
}

async function* wholeCopy(
  storage: Storage,
  start: Parameters<NonNullable<Storage["copy"]>>[0],
  signal: AbortSignal,
  require: () => void,
) {
  require();
  for await (const part of storage.copy?.(start, signal) ?? []) {
    require();
    yield part;
  }
}
