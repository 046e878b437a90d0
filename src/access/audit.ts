// The audit trail: denied calls, management, and changes of who may call, as lines of JSON in a
// file and as events in the stream `$audit`. Entries wait in a queue that is written once a second,
// so that no call waits for them. The queue and the rate of denied calls are bounded, since
// strangers decide how many there are; what does not fit is counted, and the count is an entry
// itself.

import { create, toBinary } from "@bufbuild/protobuf";
import { open } from "node:fs/promises";
import { auditStream, auditTypePrefix, type NewEvent } from "../domain/event.ts";
import { RecordedEventSchema } from "../gen/annals/v1/event_pb.js";

type Told = (message: string, fields: Readonly<Record<string, unknown>>) => void;

/** The server's log, for what an operator of access control should know. */
export interface AccessWatcher {
  readonly info: Told;
  readonly warn: Told;
  readonly error: Told;
}

/** What an entry says, besides its time and how often it happened. */
export type AuditFacts = Readonly<Record<string, string | number | readonly string[]>>;

/** `Denied`, `Managed`, `AccessChanged`: the types of events are `$AuditDenied` and so on. */
type AuditKind = "Denied" | "Managed" | "AccessChanged" | "Dropped";

interface Entry {
  readonly kind: AuditKind;
  readonly time: string;
  readonly facts: AuditFacts;
  count: number;
}

export interface AuditParts {
  /** Undefined: entries are events only. */
  readonly file: string | undefined;
  readonly watcher: AccessWatcher;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}

type StoreEvents = (events: readonly NewEvent[]) => Promise<void>;

const writeMs = 1_000;
const entriesMax = 1_000;
/** Denied calls that become entries: some at once, and one more each second. */
const deniedBurst = 60;
const deniedMs = 1_000;

export class AuditTrail {
  private readonly parts: AuditParts;
  private readonly timer: NodeJS.Timeout;
  /** The entries by what denied calls have in common, or by a number. */
  private waiting = new Map<string, Entry>();
  private dropped = 0;
  private number = 0;
  private deniedLeft = deniedBurst;
  private deniedAtMs: number;
  private store: StoreEvents | undefined;
  private writing: Promise<void> = Promise.resolve();

  constructor(parts: AuditParts) {
    this.parts = parts;
    this.deniedAtMs = parts.nowMs();
    this.timer = setInterval(() => void this.flush(), writeMs).unref();
  }

  /** Sets where entries are also appended as events. Undefined: nowhere. */
  storeIn(store: StoreEvents | undefined): void {
    this.store = store;
  }

  /** The same within a second is one entry with a count. */
  denied(facts: AuditFacts): void {
    const key = JSON.stringify(facts);
    const known = this.waiting.get(key);
    if (known !== undefined) known.count++;
    else if (this.mayTellDenied()) this.enter(key, "Denied", facts);
    else this.dropped++;
  }

  managed(facts: AuditFacts): void {
    this.enter(`${this.number++}`, "Managed", facts);
  }

  accessChanged(facts: AuditFacts): void {
    this.enter(`${this.number++}`, "AccessChanged", facts);
  }

  /** Resolves when all that was told is written, or could not be. */
  flush(): Promise<void> {
    if (this.dropped > 0) {
      const facts = { reason: "more than the audit trail takes" };
      this.parts.watcher.warn("audit entries were dropped", { count: this.dropped });
      this.waiting.set("dropped", this.entry("Dropped", facts, this.dropped));
      this.dropped = 0;
    }
    if (this.waiting.size === 0) return this.writing;
    const entries = [...this.waiting.values()];
    this.waiting = new Map();
    this.writing = this.writing.then(() => this.write(entries));
    return this.writing;
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.flush();
  }

  private mayTellDenied(): boolean {
    const now = this.parts.nowMs();
    const earned = Math.max(0, now - this.deniedAtMs) / deniedMs;
    this.deniedLeft = Math.min(deniedBurst, this.deniedLeft + earned);
    this.deniedAtMs = now;
    if (this.deniedLeft < 1) return false;
    this.deniedLeft--;
    return true;
  }

  private enter(key: string, kind: AuditKind, facts: AuditFacts): void {
    if (this.waiting.size >= entriesMax) this.dropped++;
    else this.waiting.set(key, this.entry(kind, facts, 1));
  }

  private entry(kind: AuditKind, facts: AuditFacts, count: number): Entry {
    return { kind, time: new Date(this.parts.nowMs()).toISOString(), facts, count };
  }

  /** Never rejects: a trail that cannot be written is reported. */
  private async write(entries: readonly Entry[]): Promise<void> {
    const { file, watcher } = this.parts;
    const failed = (where: string, error: unknown): void =>
      watcher.error("audit entries are lost", { where, count: entries.length, error });
    if (file !== undefined) {
      await append(file, entries.map(lineOf).join("")).catch((error: unknown) =>
        failed(file, error),
      );
    }
    await this.store?.(entries.map(eventOf)).catch((error: unknown) => failed(auditStream, error));
  }
}

/** Opened anew each time, so that the file may be rotated. */
async function append(file: string, text: string): Promise<void> {
  const handle = await open(file, "a", 0o600);
  try {
    await handle.writeFile(text);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** `Denied` -> `denied`, `AccessChanged` -> `access-changed`. */
function wordOf(kind: AuditKind): string {
  return kind.replaceAll(/\B[A-Z]/g, "-$&").toLowerCase();
}

function lineOf({ kind, time, facts, count }: Entry): string {
  return `${JSON.stringify({ time, event: wordOf(kind), ...facts, count })}\n`;
}

function eventOf({ kind, time, facts, count }: Entry): NewEvent {
  const header = { id: "", stream: auditStream, type: `${auditTypePrefix}${kind}`, tags: [] };
  const data = Buffer.from(JSON.stringify({ time, ...facts, count }));
  const fields = { ...header, contentType: "application/json", data };
  const body = toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
  return { ...header, idFromClient: false, body };
}
