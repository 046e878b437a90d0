// The members of a group, and who gets the next event: each in turn, as far as its permits go. A
// member whose lease ran out gets nothing in that event's place until it is heard of again.

import { invariant } from "../errors.ts";

export interface Member {
  readonly id: number;
  /** How many events may be in flight to it. */
  permits: number;
  /** In flight, or settled but not durably so yet. */
  held: number;
  /** Leases that ran out since it was heard of. */
  lost: number;
  /** Given to it and not taken yet. */
  unsent: number;
  /** Tokens of its deliveries. */
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

  add(id: number, permits: number): void {
    invariant(!this.byId.has(id), "a member joins once");
    const tokens = new Set<number>();
    const member = { id, permits: 0, held: 0, lost: 0, unsent: 0, tokens };
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

  /** How many more events all of them together could take. */
  get room(): number {
    let room = 0;
    for (const member of this.ring) room += this.roomOf(member);
    return room;
  }

  /** The member that is to get the next event; undefined: none can take one. */
  take(): Member | undefined {
    for (let tries = this.ring.length; tries > 0; tries--) {
      if (this.next >= this.ring.length) this.next = 0;
      const member = this.ring[this.next++] as Member;
      if (this.roomOf(member) > 0) return member;
    }
    return undefined;
  }

  private roomOf({ permits, held, lost, unsent }: Member): number {
    return Math.max(0, Math.min(permits - held - lost, this.unsentMax - unsent));
  }
}
