// Of the nodes that share a store one runs its groups, for as long as it has the lease. What a node
// loaded under a lease that is over is neither handed out nor written, also where it gets it back.
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import type { Storage, StorageWatcher } from "../../../src/storage/storage.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { openLog, settled, type Opened } from "../harness.ts";
import { append, begin, reasonOf, settings } from "./group-over.ts";
import { Worker } from "./worker.ts";

interface Lease {
  number: number;
  holder: Node | undefined;
}

class Node {
  readonly opened: Opened;
  /** While it is set, side values are listed only when it resolves. */
  pausing: Promise<void> | undefined;
  /** Called once, between a look at side values and its answer. */
  looked: (() => Promise<unknown>) | undefined;
  private readonly lease: Lease;
  private readonly watchers = new Set<StorageWatcher>();

  constructor(storage: ModelStorage, lease: Lease) {
    this.lease = lease;
    this.opened = openLog({ storage, wrap: (own) => this.shared(own) });
  }

  get groups() {
    return this.opened.log.groups;
  }

  lose(): void {
    this.lease.holder = undefined;
    for (const watcher of this.watchers) watcher.groupsLost?.();
  }

  private shared(own: ModelStorage): Storage {
    const { lease, watchers } = this;
    return {
      ...own,
      watch: (watcher) => {
        watchers.add(watcher);
        return own.watch(watcher);
      },
      holdGroups: async () => {
        if (lease.holder === undefined) {
          lease.number++;
          lease.holder = this;
        }
        if (lease.holder === this) return lease.number;
        throw new AnnalsError({ reason: "GROUPS_ELSEWHERE", server: "other" }, "ask there");
      },
      sideValues: {
        ...own.sideValues,
        get: async (space, names) => {
          const found = await own.sideValues.get(space, names);
          const { looked } = this;
          this.looked = undefined;
          await looked?.();
          return found;
        },
        list: async (page) => {
          await this.pausing;
          return own.sideValues.list(page);
        },
      },
    };
  }
}

async function twoNodes(streams: string): Promise<[Node, Node]> {
  const storage = createModelStorage();
  const lease = { number: 0, holder: undefined };
  const [one, other] = [new Node(storage, lease), new Node(storage, lease)];
  await append(one.opened.log, streams);
  await one.groups.create("g", settings, begin);
  return [one, other];
}

async function settleAll(node: Node): Promise<void> {
  const worker = await Worker.join(node.opened.log, "g", 10);
  await settled();
  worker.ack();
  await settled();
}

describe("a group of several nodes", () => {
  test("that a call asks for after the lease is lost is not loaded without it", async () => {
    const [one, other] = await twoNodes("abc");
    one.lose();
    await settled();
    let goOn = () => {};
    one.pausing = new Promise((resolve) => (goOn = resolve));
    const asked = reasonOf(one.groups.list({ prefix: "", after: "", limit: 10 }));
    await settled();
    one.lose();
    expect(await other.groups.get("g")).toMatchObject({ position: 0 });
    one.pausing = undefined;
    goOn();
    expect(await asked).toBe("GROUPS_ELSEWHERE");
    await settleAll(other);
    other.lose();
    const later = await Worker.join(one.opened.log, "g", 10);
    expect(await later.news()).toEqual([]);
    expect(await one.groups.get("g")).toMatchObject({ position: 3 });
  });

  test("is loaded again by a node that has the lease a second time", async () => {
    const [one, other] = await twoNodes("abc");
    const first = await Worker.join(one.opened.log, "g", 10);
    expect(await first.news()).toEqual(["1", "2", "3"]);
    one.lose();
    await settleAll(other);
    expect(first.error).toMatchObject({ reason: "RECOVERING" });
    other.lose();
    const later = await Worker.join(one.opened.log, "g", 10);
    await append(one.opened.log, "d");
    expect(await later.news()).toEqual(["4"]);
  });

  test("is not replaced by one that another node has made meanwhile", async () => {
    const [one, other] = await twoNodes("abcdef");
    const start = { kind: "after-group", group: "g", replace: true } as const;
    one.lose();
    await settled();
    one.looked = async () => {
      one.lose();
      const others = { kind: "after-position", position: 5 } as const;
      await other.groups.create("h", { ...settings, attemptsMax: 7 }, others);
      other.lose();
    };
    expect(await reasonOf(one.groups.create("h", settings, start))).toBe("GROUP_EXISTS");
    const kept = await one.groups.get("h");
    expect(kept).toMatchObject({ position: 5, settings: { attemptsMax: 7 } });
    expect(await one.groups.get("g")).toMatchObject({ position: 0 });
  });

  test("writes nothing without the lease under which it was decided", async () => {
    const storage = createModelStorage();
    const written: (number | undefined)[] = [];
    const commit = storage.commit.bind(storage);
    storage.commit = (one) => {
      for (const { space, lease } of one.sideValues ?? []) {
        if (space.startsWith("group")) written.push(lease);
      }
      return commit(one);
    };
    const node = new Node(storage, { number: 6, holder: undefined });
    await append(node.opened.log, "a");
    await node.groups.create("g", settings, begin);
    await node.groups.update("g", { leaseMs: 5_000 });
    await settleAll(node);
    node.lose();
    await node.groups.remove("g");
    expect(new Set(written.slice(0, -3))).toEqual(new Set([7]));
    expect(new Set(written.slice(-3))).toEqual(new Set([8]));
  });
});
