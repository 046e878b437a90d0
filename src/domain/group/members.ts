// The members of a group, and which of them gets the next event: each in turn, within its permits.
// While the lease of an event has run out, its member gets no other event in its place until it
// sends a message.

import { invariant } from "../errors.ts";

export interface Member {
  readonly id: number;
  /** Whether an event that is settled, but not durably, makes room for another one. */
  readonly freesAtOnce: boolean;
  /** How many events may be in flight to the member. */
  permits: number;
  /** Events in flight, or settled but not durably. */
  held: number;
  /** Of those held: settled, but not durably. */
  settling: number;
  /** Leases that ran out since its last message. */
  lost: number;
  /** Events given to the member that it has not taken. */
  unsent: number;
  /** The tokens of its deliveries. */
  readonly tokens: Set<number>;
}

export class Members {
  private readonly byId = new Map<number, Member>();
  private ring: Member[] = [];
  private next = 0;
  private readonly permitsMax: number;
  private readonly unsentMax: number;

  constructor(permitsMax: number, unsentMax: number) {
    this.permitsMax = permitsMax;
    this.unsentMax = unsentMax;
  }

  get count(): number {
    return this.ring.length;
  }

  add(id: number, permits: number, freesAtOnce: boolean): void {
    invariant(!this.byId.has(id), "a member joins once");
    const tokens = new Set<number>();
    const counts = { permits: 0, held: 0, settling: 0, lost: 0, unsent: 0 };
    const member = { id, freesAtOnce, ...counts, tokens };
    this.byId.set(id, member);
    this.ring.push(member);
    this.permit(member, permits);
  }

  permit(member: Member, count: number): void {
    member.permits = Math.min(member.permits + count, this.permitsMax);
  }

  find(id: number): Member | undefined {
    return this.byId.get(id);
  }

  remove(id: number): void {
    const member = this.byId.get(id);
    if (member === undefined) return;
    this.byId.delete(id);
    this.ring = this.ring.filter((other) => other !== member);
    this.next = 0;
  }

  all(): readonly Member[] {
    return this.ring;
  }

  /** How many more events all members together can take. */
  get room(): number {
    let room = 0;
    for (const member of this.ring) room += this.roomOf(member);
    return room;
  }

  /** The member that gets the next event. Undefined: none can take one. */
  take(): Member | undefined {
    for (let tries = this.ring.length; tries > 0; tries--) {
      if (this.next >= this.ring.length) this.next = 0;
      const member = this.ring[this.next++] as Member;
      if (this.roomOf(member) > 0) return member;
    }
    return undefined;
  }

  private roomOf({ permits, held, settling, freesAtOnce, lost, unsent }: Member): number {
    const taken = freesAtOnce ? held - settling : held;
    return Math.max(0, Math.min(permits - taken - lost, this.unsentMax - unsent));
  }
}
