// The consumer groups. A group is loaded when it is first requested, and unloaded when it is no
// longer used. Changes of a group are made one at a time.

import { AnnalsError, beyondHead, invalidField } from "../../domain/errors.ts";
import { queryBytes } from "../../domain/query.ts";
import { progressFrom } from "../../domain/group/progress.ts";
import {
  changedSettings,
  sameSettings,
  type GroupChanges,
  type GroupSettings,
} from "../../domain/group/settings.ts";
import { enterEpoch, epochInRecord } from "./enter-epoch.ts";
import { infoOf, listInfos } from "./info.ts";
import {
  creationSideValues,
  deletionSideValues,
  leftovers,
  loadGroup,
  loadRecord,
  recordSideValue,
} from "./side-values.ts";
import type { Advance, StorageWatcher } from "../../storage/storage.ts";
import { discardParked, listParkedEvents, replayParked } from "./parked.ts";
import type { GroupRecord } from "./record.ts";
import { groupExists, groupNotFound, groupReplaced, groupsStopping } from "./group-errors.ts";
import { lifecyclesChanged } from "./removed-events.ts";
import { GroupRunner, type RunnerParts } from "./runner.ts";
import {
  lagEventsMax,
  type GroupInfo,
  type GroupLog,
  type GroupMember,
  type GroupPage,
  type GroupStart,
  type MemberWish,
  type ParkedEvent,
  type ParkedPage,
} from "../group-verbs.ts";

/** Unused groups that stay loaded, and bytes of their queries. */
const idleMax = 64;
const idleBytesMax = 16 * 1024 * 1024;

export class Groups implements GroupLog, StorageWatcher {
  private readonly parts: RunnerParts;
  /** Groups that are running or being loaded. */
  private readonly runners = new Map<string, Promise<GroupRunner>>();
  /** The last change in progress of each group. */
  private readonly changes = new Map<string, Promise<unknown>>();
  private readonly removing = new Set<string>();
  /** Loaded groups, the least recently used first, and the bytes of their queries. */
  private readonly idle = new Set<string>();
  private readonly bytes = new Map<string, number>();
  private sweeping: Promise<void> | undefined;
  /** Undefined: no group has been loaded yet, and nothing needs to be watched. */
  private unwatch: (() => void) | undefined;
  private stopped = false;

  constructor(parts: RunnerParts) {
    this.parts = parts;
  }

  /** The number of running groups. */
  get count(): number {
    return this.runners.size;
  }

  async create(name: string, settings: GroupSettings, start: GroupStart): Promise<GroupInfo> {
    const replaced = start.kind === "after-group" && start.replace ? start.group : undefined;
    await this.oneByOne([name, replaced ?? name], async () => {
      const write = await this.holding();
      const known = await loadRecord(this.parts.storage, name);
      if (known !== undefined) {
        const isSameStart = JSON.stringify(known.start) === JSON.stringify(start);
        if (isSameStart && sameSettings(known.settings, settings)) return;
        if (replaced !== name) throw groupExists(name);
      }
      const id = crypto.randomUUID().replaceAll("-", "");
      const epoch = epochInRecord(this.parts.storage.identity.history);
      const record = { name, id, createdAt: this.parts.clock(), settings, start, epoch };
      if (replaced !== undefined) return this.replace(replaced, record);
      const { after, fromTime } = await this.placeOf(start);
      await write(creationSideValues(record, progressFrom(after, fromTime)));
    });
    return this.get(name);
  }

  async update(name: string, changes: GroupChanges): Promise<GroupInfo> {
    await this.change(name, async (runner) => {
      const settings = changedSettings(runner.record.settings, changes);
      const { retryDelayMs, retryDelayMaxMs } = settings;
      if (retryDelayMaxMs < retryDelayMs) {
        const less = `is ${retryDelayMaxMs} ms, less than the retry delay, ${retryDelayMs} ms`;
        throw invalidField("retry_delay_max", less);
      }
      const record = { ...runner.record, settings };
      await this.durably(runner, () => runner.store([recordSideValue(record)]));
      runner.record = record;
      runner.machine.configure(settings);
      runner.touch();
    });
    return this.get(name);
  }

  async reset(name: string, start: GroupStart): Promise<GroupInfo> {
    await this.change(name, async (runner) => {
      const { after, fromTime } = await this.placeOf(start);
      runner.machine.reset(after, fromTime);
      runner.restart();
      await this.durably(runner, () => runner.flush());
    });
    return this.get(name);
  }

  async remove(name: string): Promise<boolean> {
    return this.oneByOne([name], async () => {
      const write = await this.holding();
      const record = await loadRecord(this.parts.storage, name);
      if (record === undefined) return false;
      this.removing.add(name);
      const runner = await this.runners.get(name)?.catch(() => undefined);
      try {
        await runner?.drain();
        await write(deletionSideValues(record));
        runner?.fail(groupNotFound(name));
      } catch (error) {
        // The group may still exist, so its members join again.
        runner?.fail(error);
        throw error;
      } finally {
        await runner?.over;
        this.removing.delete(name);
      }
      this.sweep();
      return true;
    });
  }

  async get(name: string, signal?: AbortSignal, gate = this.parts.gate): Promise<GroupInfo> {
    const runner = await this.runner(name);
    const parts = { ...this.parts, gate };
    return infoOf(runner, parts, { lagMax: lagEventsMax, members: true }, signal);
  }

  async settings(name: string): Promise<GroupSettings> {
    return (await this.runner(name)).record.settings;
  }

  async list(page: GroupPage, signal?: AbortSignal, gate = this.parts.gate): Promise<GroupInfo[]> {
    const parts = { ...this.parts, gate };
    // A group that was deleted meanwhile is not listed.
    const runnerOf = (name: string) => this.runner(name).catch(ignoreMissing);
    return listInfos(parts, page, runnerOf, signal);
  }

  async join(name: string, wish: MemberWish): Promise<GroupMember> {
    const runner = await this.runner(name);
    return runner.join(wish);
  }

  async listParked(page: ParkedPage, gate = this.parts.gate): Promise<ParkedEvent[]> {
    return listParkedEvents(await this.runner(page.group), { ...this.parts, gate }, page);
  }

  async replayParked(name: string, positions: readonly number[]): Promise<number> {
    return this.change(name, (runner) =>
      this.durably(runner, () => replayParked(runner, this.parts, positions)),
    );
  }

  async discardParked(name: string, positions: readonly number[]): Promise<number> {
    return this.change(name, (runner) =>
      this.durably(runner, () => discardParked(runner, this.parts, positions)),
    );
  }

  async waitFor(
    name: string,
    position: number,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<number> {
    const { waiters } = this.parts;
    const runner = await this.runner(name);
    const waiter = waiters.open(name, position);
    try {
      if (runner.position >= position) return runner.position;
      runner.touch();
      return await waiter.wait(timeoutMs, signal);
    } finally {
      waiter.close();
    }
  }

  /**
   * Events became durable: a group may have got further without one of them being its own, or hold
   * events that they remove.
   */
  advanced(advance: Advance): void {
    const streams = lifecyclesChanged(advance);
    if (streams === "all" || streams.size > 0) {
      this.forEachRunning((runner) => runner.lifecyclesChanged(streams));
    }
    this.forEachRunning((runner) => runner.touch(), this.parts.waiters.names);
  }

  groupsLost(): void {
    const lost = new AnnalsError({ reason: "RECOVERING" }, "another server runs the groups by now");
    this.forEachRunning((runner) => runner.fail(lost));
  }

  private forEachRunning(act: (runner: GroupRunner) => void, names?: readonly string[]): void {
    for (const name of names ?? this.runners.keys())
      void this.runners.get(name)?.then(act, () => {});
  }

  /** Ends every member and every wait, and writes what can be written. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.parts.waiters.stop();
    const running = [...this.runners.values()].map(async (loading) => {
      const runner = await loading.catch(() => undefined);
      await runner?.stop(groupsStopping());
    });
    await Promise.all(running);
    await this.sweeping;
    this.unwatch?.();
  }

  /** The running group. Throws GROUP_NOT_FOUND. */
  private async runner(name: string): Promise<GroupRunner> {
    for (;;) {
      if (this.stopped) throw groupsStopping();
      if (this.removing.has(name)) throw groupNotFound(name);
      this.use(name);
      const runner = await (this.runners.get(name) ?? this.load(name));
      if (!runner.isEnding) return runner;
      // The previous runner must have finished writing.
      await runner.over;
    }
  }

  /** What stores side values of groups under the lease that this node has now. */
  private async holding(): Promise<RunnerParts["write"]> {
    const { storage, write } = this.parts;
    const lease = await storage.holdGroups?.();
    if (lease === undefined) return write;
    return (sideValues) => write(sideValues.map((change) => ({ ...change, lease })));
  }

  private load(name: string): Promise<GroupRunner> {
    this.unwatch ??= this.parts.storage.watch(this);
    const loading = this.begin(name);
    this.runners.set(name, loading);
    const forget = (): void => {
      if (this.runners.get(name) === loading) this.runners.delete(name);
      this.idle.delete(name);
      this.bytes.delete(name);
    };
    loading.then((runner) => runner.over.then(forget), forget);
    return loading;
  }

  /**
   * A group is loaded under a lease, and fails with it (`groupsLost`). It is loaded again with what
   * another node has settled since, and nothing older is written over that.
   */
  private async begin(name: string): Promise<GroupRunner> {
    this.sweep();
    const write = await this.holding();
    const loaded = await loadGroup(this.parts.storage, name);
    if (loaded === undefined) throw groupNotFound(name);
    this.bytes.set(name, queryBytes(loaded.record.settings.query));
    const runner = new GroupRunner({ ...this.parts, write }, loaded);
    await enterEpoch(runner, this.parts.storage.identity.history);
    return runner;
  }

  /** Unloads the least recently used groups that are not needed. */
  private use(name: string): void {
    this.idle.delete(name);
    this.idle.add(name);
    let bytes = [...this.bytes.values()].reduce((sum, each) => sum + each, 0);
    for (const candidate of this.idle) {
      if (this.idle.size <= idleMax && bytes <= idleBytesMax) return;
      bytes -= this.bytes.get(candidate) ?? 0;
      this.idle.delete(candidate);
      this.letGo(candidate).catch(() => {});
    }
  }

  private async letGo(name: string): Promise<void> {
    await this.oneByOne([name], async () => {
      const runner = await this.runners.get(name)?.catch(() => undefined);
      if (runner?.isIdle === true) await runner.stop(groupsStopping());
      else if (runner !== undefined) this.idle.add(name);
    });
  }

  private change<T>(name: string, act: (runner: GroupRunner) => Promise<T>): Promise<T> {
    return this.oneByOne([name], async () => act(await this.runner(name)));
  }

  /** Changes of a group are made one after another. This one concerns all the named groups. */
  private oneByOne<T>(names: readonly string[], act: () => Promise<T>): Promise<T> {
    if (this.stopped) return Promise.reject(groupsStopping());
    const before = names.map((name) => this.changes.get(name) ?? Promise.resolve());
    const run = async (): Promise<T> => {
      await Promise.allSettled(before);
      return act();
    };
    const done = run();
    for (const name of names) this.changes.set(name, done);
    const forget = (): void => {
      for (const name of names) if (this.changes.get(name) === done) this.changes.delete(name);
    };
    done.then(forget, forget);
    return done;
  }

  /**
   * In one commit, the old group ends and the new one begins at its position, with its id, so that
   * the parked events and replays of the old group become those of the new one.
   */
  private async replace(name: string, begun: GroupRecord): Promise<void> {
    const runner = await this.runner(name);
    const record = { ...begun, id: runner.record.id };
    // Looked up again: the runner may have another lease than the one under which it was asked.
    const isOther = name !== record.name;
    const known = isOther ? await loadRecord(this.parts.storage, record.name) : undefined;
    if (known !== undefined) throw groupExists(record.name);
    const ended = isOther ? [{ space: "group", name, value: undefined } as const] : [];
    await this.durably(runner, async () => {
      await runner.drain();
      const { position, fromTime } = runner.machine;
      runner.machine.reset(position, fromTime);
      await runner.flush([...ended, recordSideValue(record)]);
    });
    runner.fail(isOther ? groupNotFound(name) : groupReplaced(name));
    await runner.over;
  }

  /** If it is not known whether a change is durable, the group is loaded from disk again. */
  private async durably<T>(runner: GroupRunner, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      runner.fail(error);
      throw error;
    }
  }

  /** The position to begin after, and the time to wait for. */
  private async placeOf(start: GroupStart): Promise<{ after: number; fromTime: number }> {
    const { storage } = this.parts;
    const head = storage.head().position;
    switch (start.kind) {
      case "end":
        return { after: head, fromTime: 0 };
      case "after-position": {
        const { position: asked } = start;
        if (asked <= head) return { after: asked, fromTime: 0 };
        throw beyondHead({ field: "start.after_position", asked, head });
      }
      case "after-group": {
        const { position, machine } = await this.runner(start.group);
        return { after: position, fromTime: machine.fromTime };
      }
      case "from-time": {
        const first = await storage.positionAt(start.time);
        // If the time is in the future, events recorded before it are skipped.
        return { after: first - 1, fromTime: first > head ? start.time : 0 };
      }
    }
  }

  /** Removes what deleted groups have left behind, including those of an earlier process. */
  private sweep(): void {
    if (this.sweeping !== undefined) return;
    this.sweeping = this.sweepAll().catch((error: unknown) => {
      this.sweeping = undefined;
      this.parts.warn("side values of deleted groups could not be removed", error);
    });
  }

  private async sweepAll(): Promise<void> {
    while (!this.stopped) {
      const sideValues = await leftovers(this.parts.storage);
      if (sideValues.length === 0) break;
      await this.parts.write(sideValues);
    }
    this.sweeping = undefined;
  }
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof AnnalsError && error.reason === "GROUP_NOT_FOUND") return undefined;
  throw error;
}
