// What the members of a group saw and said, over all lives of the server, and the exact checks of
// it. A delivery counts from when it is read, and only while its lease lasts: until then nobody else
// can have it, so that what is checked then holds whatever the machine's delays are.
import type {
  Delivery,
  ParkedEvent,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";

/** What one token stands for. */
interface Held {
  readonly position: number;
  readonly attempt: number;
  /** Until then it is nobody else's, unless something is said of it, or its member goes. */
  untilMs: number;
  said: "nothing" | "ack" | "nack" | "park" | "goodbye";
  answer: "none" | "settled" | "refused";
  /** It came when its lease was about to end: only the server knows what counts for it. */
  isLate: boolean;
  /** When its member heard that the server had ended the call. */
  cutOffMs: number | undefined;
}

export interface LoggedEvent {
  readonly position: number;
  /** What Read gives of it, in one text. */
  readonly content: string;
}

export class GroupHistory {
  readonly name: string;
  readonly attemptsMax: number;
  readonly violations: string[] = [];
  deliveries = 0;
  private readonly keyOf: (delivery: Delivery) => string;
  private readonly byToken = new Map<string, Held>();
  private readonly keys = new Map<number, string>();
  private readonly contents = new Map<number, string>();
  /** Durable for good, as the server said. */
  private readonly done = new Map<number, "ack" | "park">();
  /** By key: the last position that is done. */
  private readonly doneThrough = new Map<string, number>();
  /** Failures that the server said are durable. */
  private readonly failures = new Map<number, number>();
  /** By the loaded group and the key: what was delivered last. */
  private readonly lastOf = new Map<string, Held>();
  /** What came to another member although it was held, unless its holder was cut off. */
  private readonly doubted: {
    readonly held: Held;
    readonly atMs: number;
    readonly text: string;
  }[] = [];
  private readonly cutOffMsMax: number;

  /**
   * `cutOffMsMax`: behind another server, a member may hear so much later that its call has ended
   * than others get its events. 0: never.
   */
  constructor(
    name: string,
    attemptsMax: number,
    keyOf: (delivery: Delivery) => string,
    cutOffMsMax = 0,
  ) {
    this.name = name;
    this.cutOffMsMax = cutOffMsMax;
    this.attemptsMax = attemptsMax;
    this.keyOf = keyOf;
  }

  violate(text: string): void {
    if (this.violations.length < 50) this.violations.push(`${this.name}: ${text}`);
  }

  /**
   * False: its lease has run out before it was read, or is about to, and it says nothing. What is
   * said of a later one may still be said of it, too.
   */
  delivered(delivery: Delivery, nowMs: number): boolean {
    const { token, attempt, event, leaseUntil } = delivery;
    const until = Number(leaseUntil?.seconds ?? 0n) * 1_000 + (leaseUntil?.nanos ?? 0) / 1e6;
    if (event === undefined) return false;
    const position = Number(event.position);
    const held = { position, attempt, untilMs: until, said: "nothing", answer: "none" } as const;
    const isLate = nowMs >= until - leaseMarginMs;
    const its: Held = { ...held, isLate, cutOffMs: undefined };
    this.byToken.set(token, its);
    this.keys.set(position, this.keyOf(delivery));
    if (isLate) return false;
    this.deliveries++;
    const key = this.keyOf(delivery);
    const fault = (text: string) => this.violate(`position ${position} #${attempt}: ${text}`);
    const done = this.done.get(position);
    if (done !== undefined) fault(`it was told to be durable that it is done (${done})`);
    if ((this.failures.get(position) ?? 0) >= attempt) {
      fault(`${this.failures.get(position)} failures were told to be durable`);
    }
    if (attempt > this.attemptsMax) fault("too many attempts");
    const doneThrough = this.doneThrough.get(key) ?? 0;
    if (doneThrough > position) fault(`position ${doneThrough} of its key is done`);
    // Since it was loaded a group delivers each key in order; tokens say which loading it was.
    const loadedKey = `${token.slice(0, token.indexOf("."))} ${key}`;
    const last = this.lastOf.get(loadedKey);
    if (last !== undefined) {
      if (last.position > position) fault(`position ${last.position} of its key came before it`);
      const isHeld = last.said === "nothing" && nowMs < last.untilMs - leaseMarginMs;
      if (isHeld) this.taken(last, `position ${position} #${attempt}`, nowMs);
    }
    const content = contentOf(delivery);
    if ((this.contents.get(position) ?? content) !== content) fault("its content is another");
    this.contents.set(position, content);
    this.lastOf.set(loadedKey, its);
    return true;
  }

  private taken(held: Held, what: string, nowMs: number): void {
    const text = `${what}: position ${held.position} of its key is in other hands`;
    if (this.cutOffMsMax > 0) this.doubted.push({ held, atMs: nowMs, text });
    else this.violate(text);
  }

  say(token: string, what: "ack" | "nack" | "park" | "goodbye"): void {
    const held = this.byToken.get(token);
    if (held?.said === "nothing") held.said = what;
  }

  /** The server has ended the call of the member that had these. */
  cutOff(tokens: readonly string[], nowMs: number): void {
    for (const token of tokens) {
      const held = this.byToken.get(token);
      if (held !== undefined) held.cutOffMs = nowMs;
    }
  }

  /** More time is asked for, or less: which of the two leases counts is not known before long. */
  extend(token: string, leaseMs: number, nowMs: number): void {
    const held = this.byToken.get(token);
    if (held !== undefined) held.untilMs = Math.min(held.untilMs, nowMs + leaseMs);
  }

  settled(token: string): void {
    const held = this.byToken.get(token);
    if (held === undefined || held.said === "nothing" || held.said === "goodbye") {
      return this.violate(`${token} is settled, and nobody said anything of it`);
    }
    held.answer = "settled";
    const { position, attempt, said } = held;
    if (said === "nack") {
      this.failures.set(position, Math.max(attempt, this.failures.get(position) ?? 0));
      return;
    }
    this.done.set(position, said === "ack" ? "ack" : "park");
    const key = this.keys.get(position) ?? "";
    this.doneThrough.set(key, Math.max(position, this.doneThrough.get(key) ?? 0));
  }

  refused(token: string): void {
    const held = this.byToken.get(token);
    if (held !== undefined && held.answer === "none") held.answer = "refused";
  }

  /** Everything is over: what the log holds for the group, and what the group has parked. */
  finish(log: readonly LoggedEvent[], parkedEvents: readonly ParkedEvent[]): void {
    for (const { held, atMs, text } of this.doubted) {
      if ((held.cutOffMs ?? Infinity) - atMs >= this.cutOffMsMax) this.violate(text);
    }
    const parked = new Map(parkedEvents.map((one) => [Number(one.position), one]));
    const known = new Set(log.map(({ position }) => position));
    const acked = this.said("ack");
    const putAside = this.said("park");
    for (const { position, content } of log) {
      const fault = (text: string) => this.violate(`position ${position}: ${text}`);
      const seen = this.contents.get(position);
      if (seen !== undefined && seen !== content) fault("delivered otherwise than the log has it");
      const aside = parked.get(position);
      const done = this.done.get(position);
      if (aside === undefined && done === "park") fault("parked, as was told, and not there");
      else if (aside === undefined && !acked.has(position)) fault("lost: neither done nor parked");
      if (aside === undefined) continue;
      if (done === "ack") fault("done, as was told, and parked");
      if (!putAside.has(position) && aside.attempts < this.attemptsMax) {
        fault(`parked by nobody, after ${aside.attempts} attempts`);
      }
    }
    for (const position of this.contents.keys()) {
      if (!known.has(position)) this.violate(`position ${position} came; the log lacks it`);
    }
  }

  /** Positions of which this was said, and not refused. */
  private said(what: "ack" | "park"): Set<number> {
    const all = [...this.byToken.values()];
    const counts = ({ isLate, answer }: Held): boolean =>
      isLate ? answer === "settled" : answer !== "refused";
    const some = all.filter((held) => held.said === what && counts(held));
    return new Set(some.map(({ position }) => position));
  }
}

/** Between the server's clock, which passes evenly, and this machine's. */
const leaseMarginMs = 100;

export function contentOf({ event }: Pick<Delivery, "event">): string {
  if (event === undefined) return "";
  const { id, stream, version, position, type, tags, data } = event;
  return [id, stream, version, position, type, tags.join(), Buffer.from(data).toString()].join("|");
}
