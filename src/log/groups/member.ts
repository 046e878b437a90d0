// A member of a running group, for its connection. Events given to it wait here until they are
// sent, and its requests go to the group. Memory is bounded by its permits; requests beyond that
// make the caller wait.

import type { AnnalsError } from "../../domain/errors.ts";
import { Fifo } from "../../domain/fifo.ts";
import type { GroupStateMachine, HandledTokens } from "../../domain/group/state-machine.ts";
import type { Delivery } from "../../domain/group/state.ts";
import type {
  GroupMember,
  MemberDelivery,
  MemberMessage,
  MemberRequest,
  MemberWish,
} from "../group-verbs.ts";
import type { HandedFigures } from "../log-figures.ts";
import type { Storage } from "../../storage/storage.ts";
import type { Timers } from "../timers.ts";

/** A message of deliveries is cut near this size. */
const deliveriesBytes = 64 * 1024;
const deliveriesCount = 256;
const tokensPerMessage = 1_000;
/** While more refused tokens than this have to be reported, no further requests are read. */
const refusedMax = 10_000;

/** What a member needs from its group. */
export interface MemberHost {
  readonly machine: GroupStateMachine;
  readonly timers: Timers;
  readonly heartbeatMs: number;
  readonly nowMs: () => number;
  /**
   * The first part of a delivery's token, before its number: identifies the group and its present
   * load.
   */
  readonly tokenTag: string;
  readonly position: () => number;
  readonly readRecord: (position: number) => Promise<Uint8Array | undefined>;
  readonly storage: Pick<Storage, "areRemoved">;
  /** Counts the events that members get. */
  readonly handed: Pick<HandedFigures, "group">;
  /** Makes the group look whether it has something to do. */
  readonly touch: () => void;
  readonly left: (member: ConnectedMember) => void;
}

export class ConnectedMember implements GroupMember {
  readonly id: number;
  readonly name: string;
  /** Microseconds since 1970, UTC. */
  readonly joinedAt: number;
  private readonly host: MemberHost;
  private readonly given = new Fifo<Delivery>();
  private settled: string[] = [];
  private refused: string[] = [];
  private failure: AnnalsError | undefined;
  private isFinished = false;
  private isGone = false;
  /** The number of the last delivery that was sent. The client cannot know later ones. */
  private lastSent = 0;
  private spokeAtMs: number;
  private awake: (() => void) | undefined;
  private drained: (() => void) | undefined;

  constructor(host: MemberHost, id: number, { name }: MemberWish) {
    this.host = host;
    this.id = id;
    this.name = name;
    this.joinedAt = Math.round(host.nowMs() * 1_000);
    this.spokeAtMs = host.timers.nowMs();
  }

  get leaseMs(): number {
    return this.host.machine.settings.leaseMs;
  }

  async *messages(): AsyncGenerator<MemberMessage> {
    try {
      while (!this.isGone) {
        // Settled tokens that are durable are reported even when the group ends.
        if (this.failure !== undefined && this.settled.length === 0) throw this.failure;
        const message = await this.next();
        if (message === undefined && this.isDone) return;
        if (message === undefined) await this.wait();
        else {
          yield message;
          this.spokeAtMs = this.host.timers.nowMs();
        }
      }
    } finally {
      this.leave();
    }
  }

  handle(request: MemberRequest): Promise<void> | undefined {
    if (this.isGone || this.isFinished || this.failure !== undefined) return undefined;
    this.host.machine.heard(this.id);
    if (request.kind === "permits") this.host.machine.permit(this.id, request.count);
    else this.settle(request);
    this.host.touch();
    if (this.refused.length <= refusedMax) return undefined;
    return new Promise((resolve) => {
      this.drained = resolve;
    });
  }

  finish(): void {
    if (this.isGone || this.isFinished) return;
    this.isFinished = true;
    this.host.machine.retire(this.id, this.host.nowMs());
    this.host.touch();
    this.wake();
  }

  leave(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.host.machine.leave(this.id, this.host.nowMs());
    this.host.left(this);
    this.wake();
    this.drained?.();
  }

  // ---- called by the group ------------------------------------------------------------------

  give(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.given.push(delivery);
    this.wake();
  }

  tellSettled(tokens: readonly number[]): void {
    for (const token of tokens) this.settled.push(this.textOf(token));
    this.wake();
  }

  /** Ends the membership. */
  fail(error: AnnalsError): void {
    this.failure ??= error;
    this.wake();
    this.drained?.();
  }

  // -------------------------------------------------------------------------------------------

  /** The member has finished, and all its requests were answered. */
  private get isDone(): boolean {
    return this.isFinished && this.host.machine.member(this.id).held === 0 && this.hasNothingToSay;
  }

  private get hasNothingToSay(): boolean {
    return this.given.size + this.settled.length + this.refused.length === 0;
  }

  private async next(): Promise<MemberMessage | undefined> {
    if (this.settled.length > 0) {
      return { kind: "settled", tokens: this.settled.splice(0, tokensPerMessage) };
    }
    if (this.refused.length > 0) {
      const tokens = this.refused.splice(0, tokensPerMessage);
      if (this.refused.length <= refusedMax) this.drained?.();
      return { kind: "refused", tokens };
    }
    if (this.given.size > 0) {
      const deliveries = await this.take();
      if (deliveries.length > 0) return { kind: "deliveries", deliveries };
      return undefined;
    }
    if (this.isDone || this.silenceLeftMs() > 0) return undefined;
    return { kind: "heartbeat", position: this.host.position() };
  }

  /** As many of the waiting deliveries as one message holds. */
  private async take(): Promise<MemberDelivery[]> {
    const { machine, readRecord, storage, nowMs } = this.host;
    const given: { readonly delivery: Delivery; readonly record: Uint8Array | undefined }[] = [];
    let bytes = 0;
    while (given.length < deliveriesCount && bytes < deliveriesBytes) {
      const delivery = this.given.shift();
      if (delivery === undefined) break;
      const { frame, position } = delivery.event;
      if (!machine.sent(delivery)) continue;
      this.lastSent = Math.max(this.lastSent, delivery.token);
      const record = frame ?? (await readRecord(position));
      given.push({ delivery, record });
      bytes += record?.length ?? 0;
    }
    // What was read ahead may have been removed since.
    const removed = await storage.areRemoved(given.map(({ delivery }) => delivery.event));
    const taken = given.flatMap(({ delivery, record }, i) => {
      if (record === undefined || removed[i] === true) {
        machine.vanished(delivery, nowMs());
        return [];
      }
      if (!machine.holds(delivery)) return [];
      const { token, attempt, leaseUntilMs } = delivery;
      return { token: this.textOf(token), attempt, leaseUntil: leaseUntilMs * 1_000, record };
    });
    this.host.handed.group += taken.length;
    this.host.touch();
    return taken;
  }

  private settle(request: Exclude<MemberRequest, { kind: "permits" }>): void {
    const { machine } = this.host;
    const now = this.host.nowMs();
    const upTo = request.kind === "ack" && request.upTo !== "" ? [request.upTo] : [];
    const tokens = this.numbersOf(request.tokens);
    const last = this.numbersOf(upTo);
    const unknown = [...tokens.unknown, ...last.unknown];
    const { refused } = this.apply(machine, request, tokens.numbers, now);
    const through = last.numbers.flatMap(
      (token) => machine.ackThrough(this.id, token, now).refused,
    );
    const texts = [...refused, ...through].map((token) => this.textOf(token));
    if (unknown.length + texts.length === 0) return;
    this.refused.push(...unknown, ...texts);
    this.wake();
  }

  private apply(
    machine: GroupStateMachine,
    request: Exclude<MemberRequest, { kind: "permits" }>,
    tokens: readonly number[],
    now: number,
  ): HandledTokens {
    switch (request.kind) {
      case "ack":
        return machine.ack(this.id, tokens, now);
      case "nack":
        return machine.nack(this.id, tokens, request, now);
      case "extend":
        return machine.extend(this.id, tokens, request.leaseMs, now);
      case "release":
        return machine.release(this.id, tokens, now);
      case "park":
        return machine.park(this.id, tokens, request.reason, now);
    }
  }

  private textOf(token: number): string {
    return this.host.tokenTag + token.toString(36);
  }

  private numbersOf(texts: readonly string[]): { numbers: number[]; unknown: string[] } {
    const numbers: number[] = [];
    const unknown: string[] = [];
    const { tokenTag } = this.host;
    for (const text of texts) {
      const number = text.startsWith(tokenTag)
        ? Number.parseInt(text.slice(tokenTag.length), 36)
        : Number.NaN;
      // Only in its exact form, and only after it was sent. Anything else is not a token of this
      // member.
      if (number <= this.lastSent && this.textOf(number) === text) numbers.push(number);
      else unknown.push(text);
    }
    return { numbers, unknown };
  }

  private silenceLeftMs(): number {
    const { timers, heartbeatMs } = this.host;
    return this.spokeAtMs + heartbeatMs - timers.nowMs();
  }

  /** Resolves when there may be something to send. */
  private wait(): Promise<void> {
    if (!this.hasNothingToSay || this.isDone) return Promise.resolve();
    if (this.isGone || this.failure !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const stopTimer = this.host.timers.delay(Math.max(0, this.silenceLeftMs()), () => {
        this.wake();
      });
      this.awake = () => {
        stopTimer();
        resolve();
      };
    });
  }

  private wake(): void {
    const { awake } = this;
    this.awake = undefined;
    awake?.();
  }
}
