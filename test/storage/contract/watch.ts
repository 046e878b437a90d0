// Watchers: told of every move of the head, right after it, in order and without gaps.
import { expect } from "vitest";
import type { Advance, Storage, StorageWatcher } from "../../../src/storage/storage.ts";
import { commitEvents, composeCommit, newEvent, newEvents } from "../../support/events.ts";
import { contractTest, sameBytes, type OpenEngine } from "./checks.ts";
import { change, commitSideValues } from "./side-values.ts";

interface Seen {
  readonly advances: Advance[];
  /** The head the storage had when it told. */
  readonly heads: number[];
  readonly watcher: StorageWatcher;
}

function watcherOf(storage: Storage): Seen {
  const advances: Advance[] = [];
  const heads: number[] = [];
  const advanced = (advance: Advance) => {
    advances.push(advance);
    heads.push(storage.head().position);
  };
  return { advances, heads, watcher: { advanced, writeStateChanged: () => undefined } };
}

export function watchContract(open: OpenEngine): void {
  contractTest(
    open,
    "every move of the head is told once, in order, without gaps",
    async (storage) => {
      const { advances, heads, watcher } = watcherOf(storage);
      storage.watch(watcher);
      let before = storage.head();
      for (let round = 1; round <= 10; round++) {
        const { commit } = await commitEvents(
          storage,
          newEvents(round, () => ({ stream: "a" })),
        );
        const told = advances.splice(0);
        expect(told.length, "told before the commit resolves").toBeGreaterThan(0);
        for (const { from, to } of told) {
          expect(from).toEqual(before);
          expect(to.position).toBeGreaterThan(from.position);
          before = to;
        }
        expect(before).toEqual(storage.head());
        expect(heads.splice(0)).toEqual(told.map(({ to }) => to.position));
        for (const { events } of told.filter((advance) => advance.events !== undefined)) {
          expect(events?.map(({ position }) => position)).toEqual(
            commit.events.map(({ position }) => position),
          );
          expect(
            events?.every((event, i) => sameBytes(event.frame, frameAt(commit.events, i))),
          ).toBe(true);
        }
      }
    },
  );

  contractTest(open, "a commit that stores nothing is not told", async (storage) => {
    const late = await composeCommit(storage, [newEvent()]);
    await commitEvents(storage, [newEvent()]);
    const { advances, watcher } = watcherOf(storage);
    storage.watch(watcher);
    expect(await storage.commit(late)).toBe("stale");
    await commitSideValues(storage, [change("snapshot", "a", "state")]);
    expect(advances).toEqual([]);
  });

  contractTest(open, "each watcher is told until its own watch ends", async (storage) => {
    const [first, second] = [watcherOf(storage), watcherOf(storage)];
    const endFirst = storage.watch(first.watcher);
    const endSecond = storage.watch(second.watcher);
    await commitEvents(storage, [newEvent()]);
    endFirst();
    await commitEvents(storage, [newEvent()]);
    endFirst();
    endSecond();
    await commitEvents(storage, [newEvent()]);
    expect(first.advances.map(({ to }) => to.position)).toEqual([1]);
    expect(second.advances.map(({ to }) => to.position)).toEqual([1, 2]);
  });

  contractTest(
    open,
    "a watcher may end watches, its own and others', while it is told",
    async (storage) => {
      const told: string[] = [];
      const ends: (() => void)[] = [];
      const watch = (name: string, act: () => void) => {
        const advanced = () => {
          told.push(name);
          act();
        };
        ends.push(storage.watch({ advanced, writeStateChanged: () => undefined }));
      };
      watch("ends itself", () => ends[0]?.());
      watch("stays", () => undefined);
      watch("ends itself too", () => ends[2]?.());
      watch("stays too", () => undefined);
      await commitEvents(storage, [newEvent()]);
      expect(told.splice(0)).toEqual(["ends itself", "stays", "ends itself too", "stays too"]);
      await commitEvents(storage, [newEvent()]);
      expect(told).toEqual(["stays", "stays too"]);
    },
  );
}

function frameAt(events: readonly { readonly frame: Uint8Array }[], i: number): Uint8Array {
  return events[i]?.frame ?? new Uint8Array();
}
