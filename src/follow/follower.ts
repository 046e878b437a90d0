// Follows a leader: asks it for a copy from where this store is, gives what comes to the store, and
// begins again with a pause when the connection breaks. What the leader has and the copy does not
// continue is refused, and the copy goes on answering with what it has.

import { setTimeout } from "node:timers/promises";
import type { ServiceClient } from "../client/rpc/service-client.ts";
import { CallError } from "../client/rpc/call-error.ts";
import { sameBegin, type History } from "../domain/epoch.ts";
import { AnnalsError } from "../domain/errors.ts";
import type { BackupService } from "../gen/annals/v1/backup_service_pb.js";
import {
  CopyRefused,
  type CopiedStore,
  type CopyPart,
  type CopyTarget,
  type FollowStatus,
} from "../storage/copy.ts";
import type { Storage } from "../storage/storage.ts";
import { copyFrom } from "./copy-messages.ts";

type Methods<Service> = Service extends { method: infer M } ? M : never;

export interface FollowerParts {
  readonly leader: string;
  readonly backups: ServiceClient<Methods<typeof BackupService>>;
  readonly storage: Pick<Storage, "head" | "identity">;
  readonly target: CopyTarget;
  readonly info: (message: string, fields?: Record<string, unknown>) => void;
  readonly warn: (message: string, fields?: Record<string, unknown>) => void;
  readonly nowMs: () => number;
  /** Called when the copy becomes whole, or is not any more. */
  readonly wholeChanged: (isWhole: boolean) => void;
  /** The leader has begun new epochs, which only a start can take over. Called once. */
  readonly epochsBegun: (history: History) => void;
}

export interface Follower {
  status(): FollowStatus;
  /** Resolves when nothing is being written any more. */
  stop(): Promise<void>;
}

const pauseMsFirst = 100;
const pauseMsMax = 5_000;
const refusedPauseMs = 30_000;
/** A leader says something every second. */
const silenceMsMax = 15_000;

export function startFollower(parts: FollowerParts): Follower {
  const following = new Following(parts);
  const ended = following.run();
  return {
    status: () => following.status(),
    async stop() {
      following.stop();
      await ended;
    },
  };
}

class Following {
  private readonly parts: FollowerParts;
  private readonly stopping = new AbortController();
  private phase: FollowStatus["phase"] = "disconnected";
  private why = "not connected yet";
  private leaderHead = 0;
  private isWhole = false;
  /** When the copy last had everything. */
  private caughtUpAtMs: number;
  private heardAtMs: number;

  constructor(parts: FollowerParts) {
    this.parts = parts;
    this.caughtUpAtMs = parts.nowMs();
    this.heardAtMs = this.caughtUpAtMs;
    this.lookWhole();
  }

  status(): FollowStatus {
    const { leader, storage, target, nowMs } = this.parts;
    const { position } = storage.head();
    const leaderHead = Math.max(this.leaderHead, position);
    const isCurrent = this.phase === "following" && leaderHead === position;
    return {
      leader,
      phase: target.isWhole || this.phase !== "following" ? this.phase : "copying",
      why: this.why,
      leaderHead,
      lagEvents: leaderHead - position,
      lagMs: isCurrent ? 0 : Math.max(0, Math.round(nowMs() - this.caughtUpAtMs)),
    };
  }

  stop(): void {
    this.stopping.abort(new Error("stopping"));
  }

  async run(): Promise<void> {
    let pauseMs = pauseMsFirst;
    while (!this.stopping.signal.aborted) {
      const before = this.heardAtMs;
      try {
        await this.follow();
      } catch (error) {
        if (this.stopping.signal.aborted) break;
        this.failed(error);
      }
      if (this.heardAtMs > before) pauseMs = pauseMsFirst;
      const ms = this.phase === "refused" ? refusedPauseMs : pauseMs;
      await setTimeout(ms, undefined, { signal: this.stopping.signal }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, pauseMsMax);
    }
  }

  /** Until the call ends. */
  private async follow(): Promise<void> {
    const { backups, target } = this.parts;
    const call = new AbortController();
    const signal = AbortSignal.any([call.signal, this.stopping.signal]);
    const watch = setInterval(() => {
      if (this.parts.nowMs() - this.heardAtMs < silenceMsMax) return;
      call.abort(new Error(`the leader has said nothing for ${silenceMsMax / 1_000} s`));
    }, 1_000).unref();
    this.heardAtMs = this.parts.nowMs();
    try {
      const start = await target.start();
      let isBegun = false;
      for await (const part of copyFrom(backups, start, { signal })) {
        this.heardAtMs = this.parts.nowMs();
        if ((part.kind === "begin") === isBegun) {
          throw new CopyRefused("it does not say first, and once, of which store the copy is");
        }
        isBegun = true;
        if (!(await this.take(part))) return;
      }
    } finally {
      clearInterval(watch);
    }
  }

  /** False: nothing more is taken. */
  private async take(part: CopyPart): Promise<boolean> {
    const { target, storage, nowMs } = this.parts;
    if (part.kind === "begin" && !this.accept(part.store)) return false;
    const { position: before } = storage.head();
    await target.receive(part);
    if (part.kind === "begin") this.leaderHead = part.store.head;
    else if (part.kind === "commits") this.leaderHead = part.commits.head;
    else if (part.kind === "progress") this.leaderHead = part.head;
    if (storage.head().position >= this.leaderHead) this.caughtUpAtMs = nowMs();
    this.lookWhole(before);
    this.connected();
    return true;
  }

  /** Throws CopyRefused if the leader is not one of this copy. */
  private accept({ storeId, history }: CopiedStore): boolean {
    const { storage, target } = this.parts;
    if (storeId !== storage.identity.storeId) {
      throw new CopyRefused(
        `it serves store ${storeId}, and this is a copy of ${storage.identity.storeId}`,
      );
    }
    const own = target.history;
    if (!sameBegin(own, history)) {
      throw new CopyRefused("it has other epochs than this copy: one of the two was promoted");
    }
    if (history.length === own.length) return true;
    const { position } = storage.head();
    const lost = history.slice(own.length).find(({ after }) => after < position);
    if (lost !== undefined) {
      throw new CopyRefused(
        `its epoch ${lost.id} begins after position ${lost.after}, this copy ends at ${position}`,
      );
    }
    this.parts.info("the leader has begun a new epoch", { epoch: history.at(-1)?.id });
    this.stop();
    this.parts.epochsBegun(history);
    return false;
  }

  private connected(): void {
    if (this.phase === "following") return;
    this.phase = "following";
    this.why = "";
    this.parts.info("following the leader", { leader: this.parts.leader });
  }

  private failed(error: unknown): void {
    const isDiverged = error instanceof AnnalsError && error.reason === "COPY_DIVERGED";
    const phase = isDiverged || error instanceof CopyRefused ? "refused" : "disconnected";
    const why = error instanceof CallError ? error.message : (error as Error).message;
    const isNews = phase !== this.phase || why !== this.why;
    [this.phase, this.why] = [phase, why];
    if (!isNews) return;
    const words = phase === "refused" ? "the leader is refused" : "the leader is not followed";
    this.parts.warn(words, { leader: this.parts.leader, why });
  }

  /** `before`: its last position before it got something. */
  private lookWhole(before = 0): void {
    const { target, warn, wholeChanged } = this.parts;
    const { isWhole } = target;
    if (isWhole === this.isWhole) return;
    this.isWhole = isWhole;
    if (!isWhole) warn("the copy waits for a removal: it is not whole", { wholeThrough: before });
    wholeChanged(isWhole);
  }
}
