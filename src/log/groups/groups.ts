// Consumer groups: which there are, and which are at work. A group is loaded when somebody first
// asks for it, and let go when nobody needs it; what changes it is done one change at a time.

import { AnnalsError, beyondHead } from "../../domain/errors.ts";
import { progressFrom } from "../../domain/group/progress.ts";
import { sameOrdering, sameQuery, type GroupSettings } from "../../domain/group/settings.ts";
import { infoOf } from "./info.ts";
import {
  creationSideValues,
  deletionSideValues,
  leftovers,
  loadGroup,
  loadRecord,
  recordSideValue,
} from "./side-values.ts";
import type { StorageWatcher } from "../../storage/storage.ts";
import { discardParked, listParkedEvents, replayParked } from "./parked.ts";
import { decodeRecord } from "./record.ts";
import { GroupRunner, type RunnerParts } from "./runner.ts";
import {
  lagEventsMax,
  listedLagEventsMax,
  type GroupInfo,
  type GroupLog,
  type GroupMember,
  type GroupPage,
  type GroupStart,
  type MemberWish,
  type ParkedEvent,
  type ParkedPage,
} from "../group-verbs.ts";

/** Groups that nobody uses and that are kept at hand all the same. */
const idleMax = 64;
const retryAfterMs = 1_000;

export class Groups implements GroupLog, StorageWatcher {
  private readonly parts: RunnerParts;
  /** At work, or being loaded. */
  private readonly runners = new Map<string, Promise<GroupRunner>>();
  /** The last change of each group that is under way. */
  private readonly changes = new Map<string, Promise<unknown>>();
  private readonly removing = new Set<string>();
  /** Those that were loaded, the least recently used first. */
  private readonly idle = new Set<string>();
  private sweeping: Promise<void> | undefined;
  private stopped = false;

  constructor(parts: RunnerParts) {
    this.parts = parts;
  }

  /** How many are at work. */
  get count(): number {
    return this.runners.size;
  }

  async create(name: string, settings: GroupSettings, start: GroupStart): Promise<GroupInfo> {
    await this.oneByOne(name, async () => {
      const known = await loadRecord(this.parts.storage, name);
      if (known !== undefined) {
        if (sameSettings(known.settings, settings) && sameStart(known.start, start)) return;
        const message = `there is a group ${JSON.stringify(name)} with other settings`;
        throw new AnnalsError({ reason: "GROUP_EXISTS", group: name }, message);
      }
      const place = await this.placeOf(start);
      const id = crypto.randomUUID().replaceAll("-", "");
      const record = { name, id, createdAt: this.parts.clock(), settings, start };
      await this.parts.write(creationSideValues(record, progressFrom(place.after, place.fromTime)));
    });
    return this.get(name);
  }

  async update(name: string, settings: GroupSettings): Promise<GroupInfo> {
    await this.change(name, async (runner) => {
      const { epoch } = runner.core;
      if (!runner.core.edit(settings)) {
        const message = "too many edits of the query before the events that were there are settled";
        throw new AnnalsError({ reason: "OVERLOADED", retryAfterMs }, message);
      }
      const record = { ...runner.record, settings };
      if (runner.core.epoch !== epoch) runner.restart();
      await this.durably(runner, () => runner.flush([recordSideValue(record)]));
      runner.record = record;
    });
    return this.get(name);
  }

  async reset(name: string, start: GroupStart): Promise<GroupInfo> {
    await this.change(name, async (runner) => {
      const { after, fromTime } = await this.placeOf(start);
      runner.core.reset(after, fromTime);
      runner.restart();
      await this.durably(runner, () => runner.flush());
    });
    return this.get(name);
  }

  async remove(name: string): Promise<boolean> {
    return this.oneByOne(name, async () => {
      const record = await loadRecord(this.parts.storage, name);
      if (record === undefined) return false;
      this.removing.add(name);
      try {
        const runner = await this.runners.get(name)?.catch(() => undefined);
        await runner?.stop(notFound(name));
        await this.parts.write(deletionSideValues(record));
      } finally {
        this.removing.delete(name);
      }
      this.sweep();
      return true;
    });
  }

  async get(name: string, signal?: AbortSignal): Promise<GroupInfo> {
    const runner = await this.runner(name);
    return infoOf(runner, this.parts, { lagMax: lagEventsMax, members: true }, signal);
  }

  async list(page: GroupPage, signal?: AbortSignal): Promise<GroupInfo[]> {
    const sideValues = await this.parts.storage.sideValues.list({ space: "group", ...page });
    const infos: GroupInfo[] = [];
    for (const { name } of sideValues.map((sideValue) =>
      decodeRecord(sideValue.name, sideValue.value),
    )) {
      if (signal?.aborted === true) break;
      // One that was deleted meanwhile is none of the list.
      const runner = await this.runner(name).catch(ignoreMissing);
      if (runner === undefined) continue;
      const bounds = { lagMax: listedLagEventsMax, members: false };
      infos.push(await infoOf(runner, this.parts, bounds, signal));
    }
    return infos;
  }

  async join(name: string, wish: MemberWish): Promise<GroupMember> {
    const runner = await this.runner(name);
    return runner.join(wish);
  }

  async listParked(page: ParkedPage): Promise<ParkedEvent[]> {
    return listParkedEvents(await this.runner(page.group), this.parts, page);
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

  /** Events became durable: a group may have got further without one of them being its own. */
  advanced(): void {
    for (const name of this.parts.waiters.names) {
      void this.runners.get(name)?.then(
        (runner) => runner.touch(),
        () => {},
      );
    }
  }

  writeStateChanged(): void {}

  /** Ends every member and every wait, and writes what can be written. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.parts.waiters.stop();
    const running = [...this.runners.values()].map(async (loading) => {
      const runner = await loading.catch(() => undefined);
      await runner?.stop(stopping());
    });
    await Promise.all(running);
    await this.sweeping;
  }

  /** The group at work. Throws GROUP_NOT_FOUND. */
  private async runner(name: string): Promise<GroupRunner> {
    for (;;) {
      if (this.stopped) throw stopping();
      if (this.removing.has(name)) throw notFound(name);
      this.use(name);
      const runner = await (this.runners.get(name) ?? this.load(name));
      if (!runner.isEnding) return runner;
      // Not before the old one has let go of the disk.
      await runner.over;
    }
  }

  private load(name: string): Promise<GroupRunner> {
    const loading = this.begin(name);
    this.runners.set(name, loading);
    const forget = (): void => {
      if (this.runners.get(name) === loading) this.runners.delete(name);
      this.idle.delete(name);
    };
    loading.then((runner) => runner.over.then(forget), forget);
    return loading;
  }

  private async begin(name: string): Promise<GroupRunner> {
    this.sweep();
    const loaded = await loadGroup(this.parts.storage, name);
    if (loaded === undefined) throw notFound(name);
    return new GroupRunner(this.parts, loaded);
  }

  /** The least recently used ones that nobody needs are let go. */
  private use(name: string): void {
    this.idle.delete(name);
    this.idle.add(name);
    for (const candidate of this.idle) {
      if (this.idle.size <= idleMax) return;
      this.idle.delete(candidate);
      this.letGo(candidate).catch(() => {});
    }
  }

  private async letGo(name: string): Promise<void> {
    await this.oneByOne(name, async () => {
      const runner = await this.runners.get(name)?.catch(() => undefined);
      if (runner?.isIdle === true) await runner.stop(stopping());
      else if (runner !== undefined) this.idle.add(name);
    });
  }

  private change<T>(name: string, act: (runner: GroupRunner) => Promise<T>): Promise<T> {
    return this.oneByOne(name, async () => act(await this.runner(name)));
  }

  /** Changes of one group come one after the other. */
  private oneByOne<T>(name: string, act: () => Promise<T>): Promise<T> {
    if (this.stopped) return Promise.reject(stopping());
    const before = this.changes.get(name) ?? Promise.resolve();
    const run = async (): Promise<T> => {
      await before.catch(() => {});
      return act();
    };
    const done = run();
    this.changes.set(name, done);
    const forget = (): void => {
      if (this.changes.get(name) === done) this.changes.delete(name);
    };
    done.then(forget, forget);
    return done;
  }

  /** Where a change is not durable, as far as one knows, the group begins again from the disk. */
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
      case "from-time": {
        const first = await storage.positionAt(start.time);
        // Where the time has not come yet, what is recorded before it does is passed over.
        return { after: first - 1, fromTime: first > head ? start.time : 0 };
      }
    }
  }

  /** Removes what groups that are gone have left, also those of an earlier process. */
  private sweep(): void {
    if (this.sweeping !== undefined) return;
    this.sweeping = this.sweepAll().catch((error: unknown) => {
      this.sweeping = undefined;
      this.parts.warn("notes of deleted groups could not be removed", error);
    });
  }

  private async sweepAll(): Promise<void> {
    for (;;) {
      const sideValues = this.stopped ? [] : await leftovers(this.parts.storage);
      if (sideValues.length === 0) break;
      await this.parts.write(sideValues);
    }
    this.sweeping = undefined;
  }
}

function notFound(name: string): AnnalsError {
  const message = `there is no group ${JSON.stringify(name)}`;
  return new AnnalsError({ reason: "GROUP_NOT_FOUND", group: name }, message);
}

function stopping(): AnnalsError {
  return new AnnalsError({ reason: "STOPPING" }, "the server is stopping; join again");
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof AnnalsError && error.reason === "GROUP_NOT_FOUND") return undefined;
  throw error;
}

function sameSettings(a: GroupSettings, b: GroupSettings): boolean {
  return (
    sameQuery(a.query, b.query) &&
    sameOrdering(a.ordering, b.ordering) &&
    a.leaseMs === b.leaseMs &&
    a.attemptsMax === b.attemptsMax &&
    a.retryDelayMs === b.retryDelayMs &&
    a.retryDelayMaxMs === b.retryDelayMaxMs &&
    a.inFlightMax === b.inFlightMax
  );
}

function sameStart(a: GroupStart, b: GroupStart): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
