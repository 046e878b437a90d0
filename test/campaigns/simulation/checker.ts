// The exact checker: given the log that is there in the end and what everybody saw, was any of the
// invariants I1-I11 and I14 broken? Every event has an id of its own, so nothing has to be searched
// for: each call is looked up and compared.
import type { Append, Conflict, Outcome } from "../../../src/domain/append.ts";
import type { PlacedEvent } from "../../../src/domain/event.ts";
import { matches, selects, type Selection } from "../../../src/domain/query.ts";
import {
  decodeRecord,
  scanPlacement,
  scanRecord,
  scanRecordedAt,
} from "../../../src/domain/record.ts";
import type { AppendCall, History, ReadCall, SubscriptionCall } from "./history.ts";

interface FinalEvent extends PlacedEvent {
  readonly recordedAt: number;
  readonly record: Uint8Array;
}

/** What is wrong, in words; empty: nothing. `records` is the whole log, in order. */
export function violationsOf(history: History, records: readonly Uint8Array[]): string[] {
  const checker = new Checker(history, records);
  checker.check();
  return [...history.violations, ...checker.violations];
}

class Checker {
  readonly violations: string[] = [];
  private readonly history: History;
  private readonly events: FinalEvent[];
  private readonly byId = new Map<string, FinalEvent>();
  /** By the name a client gives an event; its id may be the store's. */
  private readonly byName = new Map<string, FinalEvent>();

  constructor(history: History, records: readonly Uint8Array[]) {
    this.history = history;
    this.events = records.map((record) => ({
      ...scanRecord(record),
      recordedAt: scanRecordedAt(record),
      record,
    }));
  }

  check(): void {
    this.checkLog();
    for (const call of this.history.appends) this.checkAppend(call);
    this.checkDecisions();
    for (const call of this.history.reads) this.checkRead(call);
    for (const call of this.history.subscriptions) this.checkSubscription(call);
  }

  private wrong(invariant: string, words: string): void {
    this.violations.push(`${invariant}: ${words}`);
  }

  /** I2, I4, I5, I20: dense positions and versions, ids once, time never backwards. */
  private checkLog(): void {
    const versions = new Map<string, number>();
    let time = 0;
    for (const [i, event] of this.events.entries()) {
      const { id, stream, version, position, recordedAt } = event;
      if (position !== i + 1) this.wrong("I4", `position ${position} stands at ${i + 1}`);
      const expected = stream === "" ? 0 : (versions.get(stream) ?? 0) + 1;
      versions.set(stream, expected);
      if (version !== expected) this.wrong("I4", `version ${version} of ${stream} at ${position}`);
      if (this.byId.has(id)) this.wrong("I2", `event ${id} is there twice`);
      this.byId.set(id, event);
      this.byName.set(nameOf(event.record), event);
      if (recordedAt < time) this.wrong("I20", `time runs backwards at ${position}`);
      time = recordedAt;
    }
  }

  private checkAppend(call: AppendCall): void {
    const { append, answer } = call;
    const there = append.events.map(({ body }) => this.byName.get(nameOf(body)));
    const count = there.filter((event) => event !== undefined).length;
    const first = there[0]?.position ?? 0;
    if (count > 0) {
      const contiguous = there.every((event, i) => event?.position === first + i);
      if (!contiguous)
        this.wrong("I3", `${count} of ${there.length} events of an append are there`);
      for (const [i, event] of there.entries()) this.checkContent(append, i, event);
    }
    if (answer.kind === "refused") {
      // The same append may have been stored by another attempt, but not by this one.
      const stored = count > 0 && !this.wasTriedOtherwise(call);
      if (stored) this.wrong("I3", "an append that was refused is there");
      return;
    }
    if (answer.kind === "unknown") return;
    this.checkOutcome(call, answer.outcome, first, count);
  }

  private wasTriedOtherwise(call: AppendCall): boolean {
    return this.history.appends.some(
      (other) => other !== call && other.append === call.append && other.answer.kind !== "refused",
    );
  }

  private checkContent(append: Append, i: number, event: FinalEvent | undefined): void {
    const proposed = append.events[i];
    if (!event || !proposed) return;
    const body = event.record.subarray(0, proposed.body.length);
    if (Buffer.compare(body, proposed.body) === 0) return;
    this.wrong("I1", `the event at position ${event.position} is not what was appended`);
  }

  /** I1, I2, I3, I7: what was acknowledged is there, where the answer said. */
  private checkOutcome(call: AppendCall, outcome: Outcome, first: number, count: number): void {
    const { append } = call;
    if (outcome.kind !== "appended") {
      // Refused for what the log held; another attempt may have been stored before.
      if (count > 0 && !this.wasTriedOtherwise(call)) {
        this.wrong("I3", `an append that was answered with ${outcome.kind} is there`);
      }
      if (outcome.kind === "conflict") this.checkConflict(call, outcome);
      return;
    }
    if (count !== append.events.length) {
      this.wrong("I1", `${append.events.length - count} acknowledged events are not there`);
      return;
    }
    const last = first + count - 1;
    if (outcome.firstPosition !== first || outcome.lastPosition !== last) {
      this.wrong("I1", `acknowledged at ${outcome.firstPosition}, stored at ${first}`);
    }
    if (call.headAtAnswer < last) this.wrong("I1", `acknowledged ${last} before it was durable`);
    const recordedAt = this.events[first - 1]?.recordedAt;
    if (outcome.recordedAt !== recordedAt) this.wrong("I1", `another time at position ${first}`);
    for (const { stream, firstVersion, lastVersion } of outcome.streams) {
      const own = this.events.slice(first - 1, last).filter((event) => event.stream === stream);
      const told = own[0]?.version === firstVersion && own.at(-1)?.version === lastVersion;
      if (!told) this.wrong("I1", `other versions of ${stream} than were acknowledged`);
    }
  }

  /** I6: the conflict that was told was there at some moment while the call ran. */
  private checkConflict(
    { append, headAtCall, headAtAnswer }: AppendCall,
    conflict: Conflict,
  ): void {
    const heads = Array.from(
      { length: Math.max(0, headAtAnswer - headAtCall) + 1 },
      (_, i) => headAtCall + i,
    );
    const holdsAt = (head: number): boolean =>
      conflict.streams.every(
        ({ stream, actualVersion, expected }) =>
          this.versionAt(stream, head) === actualVersion &&
          (expected.kind === "version"
            ? actualVersion !== expected.version
            : actualVersion > 0 !== (expected.kind === "exists")),
      ) && this.conditionFailsAt(append, conflict, head);
    if (!heads.some(holdsAt)) {
      const told = JSON.stringify(conflict);
      this.wrong(
        "I6",
        `a conflict that was not there from ${headAtCall} to ${headAtAnswer}: ${told}`,
      );
    }
  }

  private conditionFailsAt(append: Append, conflict: Conflict, head: number): boolean {
    return conflict.conditions.every(({ index, position }) => {
      const event = this.events[position - 1];
      const condition = append.conditions[index];
      if (!event || position > head || !condition) return false;
      return position > condition.after && matches(condition.query, event);
    });
  }

  private versionAt(stream: string, head: number): number {
    let version = 0;
    for (const event of this.events) {
      if (event.position > head) break;
      if (event.stream === stream) version = event.version;
    }
    return version;
  }

  /** I6: what was stored was allowed to be, given all that was stored before it. */
  private checkDecisions(): void {
    const decided = new Set<Append>();
    for (const { append } of this.history.appends) {
      if (decided.has(append)) continue;
      decided.add(append);
      const [proposed] = append.events;
      const first = proposed && this.byName.get(nameOf(proposed.body));
      if (!first) continue;
      const before = first.position - 1;
      for (const { stream, expected } of append.expectations) {
        const version = this.versionAt(stream, before);
        const held =
          expected.kind === "version"
            ? version === expected.version
            : version > 0 === (expected.kind === "exists");
        if (!held) this.wrong("I6", `stored at ${before + 1} against its expectation`);
      }
      for (const { query, after } of append.conditions) {
        const matching = this.events.slice(after, before).find((event) => matches(query, event));
        if (matching) this.wrong("I6", `stored at ${before + 1} against its condition`);
      }
    }
  }

  /**
   * I7, I8: a read is the log up to its head, not less than what was acknowledged, byte for
   * byte.
   */
  private checkRead(call: ReadCall): void {
    const { selection, direction, acknowledgedAtCall, head, records, ended } = call;
    if (ended && head < acknowledgedAtCall) {
      this.wrong("I7", `a read of head ${head} after ${acknowledgedAtCall} was acknowledged`);
    }
    const bound = ended ? head : this.events.length;
    const expected = this.selected(selection, 0, bound);
    if (direction === "backwards") expected.reverse();
    if (ended && expected.length !== records.length) {
      this.wrong("I8", `a read gave ${records.length} of ${expected.length} events up to ${head}`);
      return;
    }
    // Backwards and cut off, it is not known where the read began: then only what came is compared.
    const cutOff = !ended && direction === "backwards";
    const from = cutOff ? this.offsetOf(expected, records[0]) : 0;
    for (const [i, record] of records.entries()) {
      if (this.isSame(expected[from + i], record)) continue;
      this.wrong("I8", `a read gave something else as its number ${i + 1}`);
      return;
    }
  }

  private offsetOf(expected: readonly FinalEvent[], record: Uint8Array | undefined): number {
    if (!record) return 0;
    const { position } = scanPlacement(record);
    return Math.max(
      0,
      expected.findIndex((event) => event.position === position),
    );
  }

  private isSame(event: FinalEvent | undefined, record: Uint8Array): boolean {
    return event !== undefined && Buffer.compare(event.record, record) === 0;
  }

  private selected(selection: Selection, after: number, head: number): FinalEvent[] {
    return this.events.slice(after, head).filter((event) => selects(selection, event));
  }

  /** I8 to I11: in order, once, without a gap, durable before delivered, and positions hold. */
  private checkSubscription({ selection, after, heard }: SubscriptionCall): void {
    let through = after;
    for (const message of heard) {
      const { durable } = message;
      if (message.kind === "position") {
        const { position } = message;
        if (position > durable) this.wrong("I11", `position ${position} at head ${durable}`);
        if (position < through) this.wrong("I11", `position ${position} follows ${through}`);
        const [missed] = this.selected(selection, through, position);
        if (missed) this.wrong("I9", `position ${missed.position} was passed over by ${position}`);
        through = Math.max(through, position);
        continue;
      }
      const { position } = scanPlacement(message.record);
      if (position > durable) this.wrong("I10", `delivered ${position} at head ${durable}`);
      const [next] = this.selected(selection, through, this.events.length);
      if (next?.position !== position) {
        this.wrong("I9", `position ${position} came for ${next?.position ?? "nothing"}`);
        return;
      }
      if (!this.isSame(next, message.record)) this.wrong("I8", `other bytes at ${position}`);
      through = position;
    }
  }
}

function nameOf(record: Uint8Array): string {
  return decodeRecord(record).metadata["name"] ?? "";
}
