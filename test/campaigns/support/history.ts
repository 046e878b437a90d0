// A history and its one exact check. Every append, every answer, every event that anybody saw goes
// in; whatever cannot be true of a log that keeps its promises comes out as a violation. Events
// tell by themselves what they must be, so the check is linear in what was observed.
//
// Of the invariants: acknowledged means there, byte-identical, at its position (I1); exactly once
// (I2); all or nothing and contiguous (I3); dense (I4) without holes (I5); each expectation and
// condition held where its append stands, and no refusal speaks of what is not there (I6); what
// was acknowledged is visible to what is asked afterwards (I7); nothing foreign (I8).
import type { AppendConflict } from "../../../src/gen/annals/v1/errors_pb.js";
import type { AppendResponse } from "../../../src/gen/annals/v1/append_pb.js";
import { mix, numberOf, type Shape } from "./content.ts";
import { Op, type Checks } from "./op.ts";
import { placeIn, type Place } from "./record.ts";

const violationsMax = 40;

/** An event that a participant saw. */
export interface Seen extends Place {
  readonly op: Op;
  readonly index: number;
  readonly stream: string;
}

/** A statement about the log in an answer. It must be true of the log that the next walk finds. */
interface Claim {
  readonly by: string;
  readonly head: number;
  readonly stream?: string;
  readonly version?: number;
  readonly tag?: string;
}

/** What one server has told to any participant. What it is asked afterwards must not be older. */
interface Told {
  head: number;
  readonly versions: Map<string, number>;
}

/** The log as a finished walk found it. */
interface Walked {
  readonly head: number;
  readonly versions: ReadonlyMap<string, number>;
}

interface Due {
  readonly ops: readonly Op[];
  readonly claims: readonly Claim[];
  readonly head: number;
  /** The last position that any answer spoke of. */
  readonly spokenOf: number;
}

export class History {
  readonly seed: number;
  readonly violations: string[] = [];
  /** The last position that was acknowledged to any participant. */
  acknowledgedHead = 0;
  acknowledgedEvents = 0;
  acknowledgedOps = 0;
  refusedOps = 0;
  observations = 0;
  /** The newest version of each stream that a participant was told. */
  readonly known = new Map<string, number>();
  private readonly told = new Map<string, Told>();
  private readonly writers = new Map<number, Op[]>();
  private readonly at: (Op | undefined)[] = [];
  private readonly unmet = new Set<Op>();
  private claims: Claim[] = [];

  constructor(seed: number) {
    this.seed = mix(seed, 0x5eed);
  }

  violate(text: string): void {
    if (this.violations.length < violationsMax) this.violations.push(text);
  }

  begin(writer: number, shape: Shape, checks: Checks = {}): Op {
    let ops = this.writers.get(writer);
    if (ops === undefined) this.writers.set(writer, (ops = []));
    const op = new Op(this.seed, writer, ops.length, shape, checks);
    ops.push(op);
    return op;
  }

  /** The append is about to be sent, perhaps again. */
  sent(op: Op): void {
    op.attempts++;
    const { expectations = [] } = op.checks;
    op.knownAtSend = expectations.map(({ stream }) => this.known.get(stream) ?? 0);
  }

  /** By a server's name; where there is one server, it has none. */
  toldBy(server: string): Told {
    let told = this.told.get(server);
    if (told === undefined) this.told.set(server, (told = { head: 0, versions: new Map() }));
    return told;
  }

  acknowledged(op: Op, answer: AppendResponse, server = ""): void {
    const [first, last] = [Number(answer.firstPosition), Number(answer.lastPosition)];
    const { count } = op.shape;
    const told = `${op.name} was acknowledged at ${first} to ${last}`;
    if (last - first + 1 !== count) this.violate(`${told}: it has ${count} events`);
    if (Number(answer.head) < last) this.violate(`${told} with head ${answer.head}`);
    if (answer.deduplicated && op.attempts === 1) this.violate(`${told} as sent before`);
    if (!answer.deduplicated && ++op.stored > 1) this.violate(`${told} once more`);
    if (op.state === "refused") this.violate(`${told} after a refusal`);
    this.place(op, first, told);
    if (op.state !== "acknowledged") {
      this.acknowledgedEvents += count;
      this.acknowledgedOps++;
    }
    op.state = "acknowledged";
    op.answer = answer;
    this.acknowledgedHead = Math.max(this.acknowledgedHead, last);
    const own = this.toldBy(server);
    own.head = Math.max(own.head, last);
    for (const { stream, lastVersion } of answer.streams) {
      this.learn(stream, Number(lastVersion), server);
    }
    this.claim({ by: told, head: Number(answer.head) });
    if (op.before === undefined) this.unmet.add(op);
    else this.compareVersions(op);
  }

  /** Refused finally, by a conflict with its details. */
  conflicted(op: Op, conflict: AppendConflict | undefined, server = ""): void {
    this.refused(op);
    const told = `the refusal of ${op.name}`;
    if (conflict === undefined) return this.violate(`${told} has no details`);
    const { expectations = [], condition } = op.checks;
    const conflicts = conflict.streams.length + conflict.conditions.length;
    if (conflicts === 0) this.violate(`${told} names no reason`);
    for (const { stream, actualVersion } of conflict.streams) {
      const version = Number(actualVersion);
      const i = expectations.findIndex((each) => each.stream === stream);
      const known = op.knownAtSend[i] ?? 0;
      if (expectations[i] === undefined) this.violate(`${told} names ${stream}`);
      if (expectations[i]?.version === version) this.violate(`${told}: ${version} was expected`);
      if (version < known) this.violate(`${told}: ${stream} was at ${known}, not ${version}`);
      this.claim({ by: told, head: 0, stream, version });
      this.learn(stream, version, server);
    }
    const [failed] = conflict.conditions;
    if (failed === undefined) return;
    const position = Number(failed.position);
    if (condition === undefined || position <= condition.after) {
      this.violate(`${told}: position ${position} contradicts no condition`);
    } else this.claim({ by: told, head: position, tag: condition.tag });
  }

  refused(op: Op): void {
    this.refusedOps++;
    if (op.first > 0) this.violate(`${op.name} is at ${op.first}, but was refused`);
    op.state = "refused";
  }

  /** A participant was told a head, for example at the end of a read. */
  toldHead(by: string, head: number, leastHead: number): void {
    if (head < leastHead) this.violate(`${by}: head ${head}, but ${leastHead} was acknowledged`);
    this.claim({ by, head });
  }

  /** A participant was told a version of a stream. */
  toldVersion(by: string, stream: string, version: number): void {
    this.claim({ by, head: 0, stream, version });
  }

  /** A participant got a record. It must be an event that was sent, at its one position. */
  see(by: string, record: Buffer): Seen | undefined {
    this.observations++;
    const number = numberOf(record);
    const op = number && this.writers.get(number.writer)?.[number.append];
    if (number === undefined || op === undefined || number.index >= op.shape.count) {
      this.violate(`${by}: an event that nobody sent: ${record.toString("hex", 0, 60)}`);
      return undefined;
    }
    const { index } = number;
    const body = op.body(index);
    const same = record.compare(body, 0, body.length, 0, Math.min(body.length, record.length));
    const place = same === 0 ? placeIn(record, body.length) : undefined;
    if (place === undefined || place.position === 0) {
      this.violate(`${by}: event ${index} of ${op.name} came back with other bytes`);
      return undefined;
    }
    const told = `${by}: event ${index} of ${op.name} is at ${place.position}`;
    if (op.state === "refused") this.violate(`${told}, but the append was refused`);
    this.place(op, place.position - index, told);
    const stream = op.shape.streams[index % op.shape.streams.length] as string;
    return { ...place, op, index, stream };
  }

  opAt(position: number): Op | undefined {
    return this.at[position];
  }

  learn(stream: string, version: number, server = ""): void {
    for (const versions of [this.known, this.toldBy(server).versions]) {
      if (version > (versions.get(stream) ?? 0)) versions.set(stream, version);
    }
  }

  /** A walk through the whole log reached the first event of an append. */
  walked(op: Op, before: readonly number[]): void {
    this.unmet.delete(op);
    op.before = before;
    if (op.answer !== undefined) this.compareVersions(op);
  }

  /**
   * What was acknowledged and claimed up to now. Taken before a walk begins, and given to `settle`
   * when it has ended.
   */
  due(): Due {
    const claims = this.claims;
    this.claims = [];
    const head = this.acknowledgedHead;
    const spokenOf = claims.reduce((most, claim) => Math.max(most, claim.head), head);
    return { ops: [...this.unmet], claims, head, spokenOf };
  }

  /** A walk that did not finish leaves these for the next one. */
  stillDue(due: Due): void {
    this.claims.push(...due.claims);
  }

  settle(due: Due, walk: Walked): void {
    const { head } = walk;
    if (head < due.head) this.violate(`the log ends at ${head}; ${due.head} was acknowledged`);
    for (const op of due.ops) {
      if (op.before !== undefined) continue;
      this.violate(`${op.name}, acknowledged at ${op.first}, is not in the log`);
      this.unmet.delete(op);
    }
    for (const { by, head: claimed, stream, version = 0, tag } of due.claims) {
      if (claimed > head)
        this.violate(`${by} spoke of position ${claimed}; the log ends at ${head}`);
      if (stream !== undefined && (walk.versions.get(stream) ?? 0) < version) {
        this.violate(`${by} spoke of version ${version} of ${stream}, which is not there`);
      }
      if (tag === undefined || claimed > head) continue;
      if (this.at[claimed]?.shape.tags.includes(tag) !== true) {
        this.violate(`${by} spoke of position ${claimed}, which does not have ${tag}`);
      }
    }
  }

  private claim(claim: Claim): void {
    this.claims.push(claim);
  }

  private place(op: Op, first: number, told: string): void {
    if (op.first === first) return;
    if (op.first > 0) return this.violate(`${told}, but it was seen to begin at ${op.first}`);
    op.first = first;
    for (let position = first; position < first + op.shape.count; position++) {
      const other = this.at[position];
      if (other !== undefined) this.violate(`${told}, where ${other.name} was seen`);
      this.at[position] = op;
    }
  }

  private compareVersions(op: Op): void {
    const { answer, before, shape } = op;
    if (answer === undefined || before === undefined) return;
    const told = answer.streams.map(
      ({ stream, firstVersion, lastVersion }) => `${stream} ${firstVersion} ${lastVersion}`,
    );
    const found = shape.streams.flatMap((stream, i) => {
      const count = op.eventsIn(i);
      const version = before[i] as number;
      return count === 0 ? [] : [`${stream} ${version + 1} ${version + count}`];
    });
    if (told.join() === found.join()) return;
    this.violate(`${op.name} got ${found.join()}, but was told ${told.join()}`);
  }
}
