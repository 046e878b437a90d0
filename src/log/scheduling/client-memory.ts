// The one budget of everything that the server holds for clients: connections, requests and what
// they become, appends that wait, batches, answers that are not taken. Each connection draws from
// it and is sure of a share. When the budget is short, the connection that holds the most over the
// longest time pays: its largest calls end with OVERLOADED.

/** As much of a call's signal as its waiting needs. */
export interface Waiter {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: { handleEvent(): void }): void;
  removeEventListener(type: "abort", listener: { handleEvent(): void }): void;
}

/** What the budget may ask of a connection. */
export interface Holder {
  /** Ends the largest calls, until about so many bytes are free or will be soon. */
  relieve(bytes: number): void;
}

/** A connection's part of the budget. */
export interface Share {
  /** False: there is no room, and nothing was taken. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** A part of the log's `Timers`. */
interface Timers {
  nowMs(): number;
  delay(ms: number, callback: () => void): () => void;
}

export interface ClientMemoryOptions {
  readonly bytesMax: number;
  /** Bytes that each connection may hold whatever others hold. */
  readonly sureBytes: number;
  readonly timers: Timers;
}

/** A connection that was asked to pay is given this long before it is asked again. */
const relievingMs = 200;
/** How long a connection must hold bytes until most of them count. */
const holdingMs = 500;
/** What was taken a moment ago counts a little, or nobody would pay for a sudden burst. */
const burstShare = 1 / 16;
/** Frees a little more than was asked for, so that not every call has to ask. */
const relievedShare = 1 / 8;
/** Beyond the budget: for connections within their share, as long as they are few. */
const reserveShare = 1 / 4;
/** What each connection may hold even then: it takes 48 KiB itself, and has small calls. */
const leastBytes = 64 * 1024;
const payersMax = 4;
const payingMs = 250;

export class ClientMemory {
  private readonly options: ClientMemoryOptions;
  private readonly accounts = new Set<Account>();
  private readonly byHolder = new WeakMap<object, Account>();
  /** Accounts with calls that wait for room. */
  private readonly waiting = new Set<Account>();
  private isLettingIn = false;
  private isPaying = false;
  /** What all connections hold. Their accounts count it. */
  bytes = 0;

  constructor(options: ClientMemoryOptions) {
    this.options = options;
  }

  get bytesMax(): number {
    return this.options.bytesMax;
  }

  /** What each connection may hold now, whatever others hold. */
  get sureBytes(): number {
    const { bytesMax, sureBytes } = this.options;
    const isWithinReserve = this.bytes <= bytesMax * (1 + reserveShare);
    return isWithinReserve ? sureBytes : Math.min(sureBytes, leastBytes);
  }

  /** True: each call that waits for its client should hold little. */
  get isLarge(): boolean {
    return this.bytes >= this.options.bytesMax / 2;
  }

  /** The share of a new connection. It ends when everything was given back. */
  open(holder: Holder): Share {
    const account = new Account(this, holder, this.options);
    this.byHolder.set(holder, account);
    return account;
  }

  /** Called when an account begins to hold something, or holds nothing any more. */
  changed(account: Account): void {
    if (account.heldBytes > 0) this.accounts.add(account);
    else this.accounts.delete(account);
  }

  /**
   * Waits until a connection that holds more than its share may hold more: while much is held, it
   * waits for what it holds itself, or for what others let go. Undefined: it may now, as may who is
   * no holder.
   */
  room(holder: object, signal?: Waiter): Promise<void> | undefined {
    if (!this.isLarge || signal?.aborted === true) return undefined;
    const account = this.byHolder.get(holder);
    if (account === undefined || this.hasRoom(account)) return undefined;
    this.waiting.add(account);
    this.paySoon();
    return new Promise((resolve) => {
      const goOn = (): void => {
        signal?.removeEventListener("abort", listener);
        account.waiting.delete(goOn);
        if (account.waiting.size === 0) this.waiting.delete(account);
        resolve();
      };
      const listener = { handleEvent: goOn };
      account.waiting.add(goOn);
      signal?.addEventListener("abort", listener);
    });
  }

  private hasRoom({ heldBytes }: Account): boolean {
    return !this.isLarge || heldBytes <= this.sureBytes;
  }

  /** Lets one call of each connection go on that waited, in this turn. */
  private readonly letIn = (): void => {
    this.isLettingIn = false;
    for (const account of this.waiting) {
      if (!this.hasRoom(account)) continue;
      const [next] = account.waiting;
      next?.();
      if (account.waiting.size === 0) this.waiting.delete(account);
      this.letInSoon();
    }
  };

  /** Called when something was given back. */
  letInSoon(): void {
    if (this.isLettingIn || this.waiting.size === 0) return;
    this.isLettingIn = true;
    setImmediate(this.letIn);
  }

  /** While a call waits, the connection that holds the most pays from time to time. */
  private paySoon(): void {
    if (this.isPaying) return;
    this.isPaying = true;
    this.options.timers.delay(payingMs, () => {
      this.isPaying = false;
      if (this.waiting.size === 0) return;
      if (this.isLarge) this.payer()?.asked(1)();
      this.letInSoon();
      this.paySoon();
    });
  }

  /** Whether the account may hold so much more, for which others may have to pay. */
  makeRoom(account: Account, bytes: number): boolean {
    const { bytesMax } = this.options;
    for (let i = 0; i < payersMax && this.bytes + bytes > bytesMax; i++) {
      const payer = this.payer();
      if (payer === undefined) break;
      if (payer === account) {
        // Its present call is refused. An idle one must not block all others of the connection.
        const relieve = payer.asked(bytes);
        setImmediate(relieve);
        return false;
      }
      payer.asked(bytes)();
    }
    return this.bytes + bytes <= bytesMax || account.heldBytes + bytes <= this.sureBytes;
  }

  /** The connection that holds the most over the longest time, beyond its share. */
  private payer(): Account | undefined {
    let most: Account | undefined;
    let mostWeight = 0;
    for (const account of this.accounts) {
      const { weight } = account;
      if (weight <= mostWeight) continue;
      most = account;
      mostWeight = weight;
    }
    return most;
  }
}

/** What one connection holds, now and over the last moments. */
class Account implements Share {
  heldBytes = 0;
  readonly waiting = new Set<() => void>();
  private readonly memory: ClientMemory;
  private readonly holder: Holder;
  private readonly options: ClientMemoryOptions;
  /** A mean of what was held, in which the last `holdingMs` count most. */
  private meanBytes = 0;
  private countedAtMs = 0;
  private relievedAtMs = Number.NEGATIVE_INFINITY;

  constructor(memory: ClientMemory, holder: Holder, options: ClientMemoryOptions) {
    this.memory = memory;
    this.holder = holder;
    this.options = options;
  }

  /** 0: it holds no more than its share, or has just been asked to pay. */
  get weight(): number {
    if (this.heldBytes <= this.memory.sureBytes) return 0;
    this.count();
    if (this.countedAtMs - this.relievedAtMs < relievingMs) return 0;
    return Math.min(this.heldBytes, this.meanBytes + this.heldBytes * burstShare);
  }

  take(bytes: number): boolean {
    const { memory, options } = this;
    const fits = memory.bytes + bytes <= options.bytesMax;
    if (!fits && !memory.makeRoom(this, bytes)) return false;
    this.add(bytes);
    return true;
  }

  give(bytes: number): void {
    this.add(-bytes);
    this.memory.letInSoon();
  }

  private add(bytes: number): void {
    const { sureBytes, timers } = this.options;
    // Within their share, as most connections stay, they need no mean.
    if (this.heldBytes > sureBytes) this.count();
    else if (this.heldBytes + bytes > sureBytes) {
      this.meanBytes = 0;
      this.countedAtMs = timers.nowMs();
    }
    const wasEmpty = this.heldBytes === 0;
    this.heldBytes += bytes;
    this.memory.bytes += bytes;
    if (wasEmpty || this.heldBytes === 0) this.memory.changed(this);
  }

  /** Marks the connection as asked to pay. Returns the function that makes it pay. */
  asked(bytes: number): () => void {
    this.relievedAtMs = this.options.timers.nowMs();
    return () => this.holder.relieve(Math.max(bytes, this.heldBytes * relievedShare));
  }

  private count(): void {
    const nowMs = this.options.timers.nowMs();
    const kept = Math.exp((this.countedAtMs - nowMs) / holdingMs);
    this.meanBytes = this.meanBytes * kept + this.heldBytes * (1 - kept);
    this.countedAtMs = nowMs;
  }
}
