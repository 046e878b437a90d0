// The scheduler of work on the main thread: reads, lists, and large requests, in pieces. Each turn
// of the event loop admits the work of one full batch. More is admitted after the I/O that arrived
// meanwhile, above all appends. Small pieces share a turn, and pass without waiting if nothing else
// is in progress.
//
// Work that waits is admitted fairly by connection: each connection has a gate, and the gates take
// turns, weighted by cost (deficit round robin). Within a connection the calls take turns, because
// each of them waits with one piece at a time. So a client with a thousand calls delays its own
// calls, and another client by one piece.
// Source: M. Shreedhar, G. Varghese, "Efficient fair queuing using deficit round robin" (1996).

import { Fifo } from "../../domain/fifo.ts";
import type { Steps } from "../../domain/steps.ts";
import { schedulingPolicy } from "./policy.ts";

const { turnBytes, readBytesMin, quantumBytes } = schedulingPolicy;
/** Pieces that nobody wants any more, which pass in one turn. */
const unwantedPerTurn = turnBytes / readBytesMin;

/** Aborted: nobody wants the work any more. */
interface Wanted {
  readonly aborted: boolean;
  readonly reason: unknown;
}

/** On whose behalf work is done. */
export interface Caller extends Wanted {
  readonly gate: Gate;
}

interface Waiting {
  readonly bytes: number;
  readonly signal: Wanted | undefined;
  readonly enter: () => void;
}

/** What the work of one connection passes, in pieces. Costs are in bytes: see policy.ts. */
export interface Gate {
  /** The connection, or whatever else `gateOf` was asked for. */
  readonly owner: object;
  /** Pieces that wait, over all gates of the scheduler. */
  readonly waitingCount: number;
  /**
   * Admits a piece of about this cost. Undefined: at once; otherwise when the promise resolves.
   * `leave` with the same number must follow in either case. A piece whose signal is aborted while
   * it waits is admitted out of turn, to be dropped.
   */
  enter(bytes: number, signal?: Wanted): Promise<void> | undefined;
  /** `spentBytes` is the true cost. Absent: nothing was done. */
  leave(bytes: number, spentBytes?: number): void;
}

export class Scheduler {
  /** Pieces that wait, over all gates. */
  waitingCount = 0;
  /** Pieces that were done, over all gates. */
  doneCount = 0;
  /** The announced cost of the admitted pieces. */
  private insideBytes = 0;
  /** The cost of the finished pieces of this turn. */
  private spentBytes = 0;
  private unwantedCount = 0;
  private turning = false;
  /** The gates where something waits. The first one is next. */
  private readonly ring = new Fifo<ConnectionGate>();
  /** Counts the times when all that waited was admitted: a gate owes only to those beside it. */
  private contention = 0;
  private readonly gates = new WeakMap<object, Gate>();

  /** The gate of a connection, or of anything else whose work is counted together. */
  gateOf(owner: object): Gate {
    let gate = this.gates.get(owner);
    if (gate === undefined) this.gates.set(owner, (gate = new ConnectionGate(this, owner)));
    return gate;
  }

  /** Admits a piece, if there is room for it in this turn. */
  admits(gate: ConnectionGate, bytes: number): boolean {
    const taken = this.insideBytes + this.spentBytes;
    if (taken > 0 && taken + bytes > turnBytes) return false;
    this.insideBytes += bytes;
    gate.owedBytes += bytes;
    return true;
  }

  wait(gate: ConnectionGate, bytes: number, signal?: Wanted): Promise<void> {
    if (gate.line.size === 0) this.ring.push(gate);
    if (gate.contention !== this.contention) gate.owedBytes = 0;
    gate.contention = this.contention;
    this.waitingCount++;
    return new Promise((enter) => gate.line.push({ bytes, signal, enter }));
  }

  finished(bytes: number, cost: number): void {
    this.insideBytes -= bytes;
    this.spentBytes += cost;
    this.doneCount++;
    if (!this.turning) {
      this.turning = true;
      setImmediate(this.turn);
    }
    if (this.waitingCount > 0) this.letIn();
  }

  private readonly turn = (): void => {
    this.turning = false;
    this.spentBytes = 0;
    this.unwantedCount = 0;
    if (this.waitingCount > 0) this.letIn();
  };

  private letIn(): void {
    for (let gate, next; (gate = this.ring.head) && (next = gate.line.head) !== undefined;) {
      const isUnwanted = next.signal?.aborted === true;
      if (isUnwanted) {
        if (++this.unwantedCount > unwantedPerTurn) return;
        this.insideBytes += next.bytes;
        gate.owedBytes += next.bytes;
      } else if (gate.owedBytes > 0 && this.ring.size > 1) {
        gate.owedBytes -= quantumBytes;
        this.ring.shift();
        this.ring.push(gate);
        continue;
      } else if (!this.admits(gate, next.bytes)) {
        // Nobody overtakes it, so that a full batch behind small ones gets in.
        return;
      }
      if (this.ring.size === 1) gate.owedBytes = next.bytes;
      gate.line.shift();
      if (gate.line.size === 0) this.ring.shift();
      this.waitingCount--;
      next.enter();
    }
    this.contention++;
  }
}

/** Waits for the turn of a piece whose cost is known, and which may pass the gate itself. */
export async function passGate(gate: Gate, bytes: number, signal?: Wanted): Promise<void> {
  const turn = gate.enter(bytes, signal);
  if (turn !== undefined) await turn;
  if (signal?.aborted === true) gate.leave(bytes);
  else gate.leave(bytes, bytes);
}

/**
 * Does long work step by step, each of which passes the gate. What is done in its first step is
 * done at once. Throws the caller's reason if it wants the work no more.
 */
export function inSteps<T>(caller: Caller, steps: Steps<T>): T | Promise<T> {
  const first = steps.next();
  return first.done === true ? first.value : furtherSteps(caller, steps, first.value);
}

/** The steps after the first one, which has cost so much. */
export async function furtherSteps<T>(caller: Caller, steps: Steps<T>, bytes: number): Promise<T> {
  // The first step did not ask.
  caller.gate.leave(0, bytes);
  for (let spentBytes = bytes; ;) {
    await passGate(caller.gate, spentBytes, caller);
    if (caller.aborted) throw caller.reason;
    const { done, value } = steps.next();
    if (done === true) return value;
    spentBytes = value;
  }
}

/**
 * Does one piece of work when its turn has come. The work must not pass the gate itself: it would
 * wait for the room that it holds. Throws the caller's reason if it wants the work no
 * more. `spentOf` gives the true cost; absent: as announced.
 */
export async function inTurn<T>(
  caller: Caller,
  bytes: number,
  work: () => Promise<T>,
  spentOf: (result: T) => number = () => bytes,
): Promise<T> {
  const { gate } = caller;
  const turn = gate.enter(bytes, caller);
  if (turn !== undefined) await turn;
  if (caller.aborted) {
    gate.leave(bytes);
    throw caller.reason;
  }
  let spentBytes = bytes;
  try {
    const result = await work();
    spentBytes = spentOf(result);
    return result;
  } finally {
    gate.leave(bytes, spentBytes);
  }
}

/** One connection's place in the order. */
class ConnectionGate implements Gate {
  readonly owner: object;
  readonly line = new Fifo<Waiting>();
  /** What it got beyond its share while others waited. */
  owedBytes = 0;
  contention = -1;
  private readonly scheduler: Scheduler;

  constructor(scheduler: Scheduler, owner: object) {
    this.scheduler = scheduler;
    this.owner = owner;
  }

  get waitingCount(): number {
    return this.scheduler.waitingCount;
  }

  enter(bytes: number, signal?: Wanted): Promise<void> | undefined {
    const { scheduler } = this;
    if (scheduler.waitingCount === 0 && scheduler.admits(this, bytes)) return undefined;
    return scheduler.wait(this, bytes, signal);
  }

  leave(bytes: number, spentBytes?: number): void {
    const cost = spentBytes === undefined ? 0 : Math.max(spentBytes, readBytesMin);
    this.owedBytes += cost - bytes;
    this.scheduler.finished(bytes, cost);
  }
}
