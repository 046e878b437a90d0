// Named points at which the process of a server under test is killed: `before-write:17` is before
// the 17th batch. LevelDB's own classes are wrapped, so that no shipped source knows about this.
import { Level } from "level";

/** The parts of classic-level's classes that are used here. */
interface Batch {
  write(options?: object): Promise<void>;
}
interface Wrapped {
  batch: () => Batch;
  open: () => Promise<void>;
  close: () => Promise<void>;
  compactRange(first: Buffer, last: Buffer): Promise<void>;
}

export const failpoints = [
  /** Nothing of the batch was written. */
  "before-write",
  /** The batch is in the operating system's memory, but not synced. */
  "after-write-before-sync",
  /** Synced, but not yet answered. */
  "after-sync-before-answer",
  /** A short time into a batch. */
  "during-write",
  "during-compaction",
  "during-start",
  "after-open",
  "during-stop",
  "before-close",
] as const;

// Of the same form: `answer-before-write` and `never-sync` are faults of a server that a campaign
// must find, or it proves nothing. `fail-write:COUNT` is a fault of the disk: that batch fails, and
// later ones are acknowledged and lost until the database is reopened, as LevelDB does it. A
// correct server survives that; the campaign is told about the failure. `hold:COUNT`: see
// broken-server.ts.

/** What a server prints when something was arranged with its campaign. */
export const saidOf = { failed: "campaign: a write fails", held: "campaign: held" } as const;

const neverResolved = new Promise<never>(() => {});

function die(): Promise<never> {
  process.kill(process.pid, "SIGKILL");
  return neverResolved;
}

function dieSoon(ms: number): void {
  setTimeout(() => void die(), ms);
}

/**
 * `NAME:COUNT`: at the COUNTth time. For points that occur once, COUNT is milliseconds after them.
 */
export function arm(text: string): void {
  const [name = "", countText = "1"] = text.split(":");
  const count = Number(countText);
  const wrapped = Level.prototype as unknown as Wrapped;
  const { batch, open, close } = wrapped;
  let writes = 0;
  let failing = false;

  const write = async (inner: Batch["write"], options?: object): Promise<void> => {
    const due = ++writes === count;
    if (due && name === "before-write") await die();
    if (due && name === "after-write-before-sync") {
      await inner({ ...options, sync: false });
      await die();
    }
    if (due && name === "during-write") dieSoon(Math.random());
    if (due && name === "fail-write") {
      failing = true;
      process.stdout.write(`${saidOf.failed}\n`);
      throw new Error("IO error: a failpoint");
    }
    if (failing) return;
    if (name === "never-sync") return inner({ ...options, sync: false });
    if (name === "answer-before-write") {
      setTimeout(() => void inner(options), 30);
      return;
    }
    await inner(options);
    if (due && name === "after-sync-before-answer") await die();
  };
  wrapped.batch = function (this: Wrapped) {
    const opened = batch.call(this);
    const inner = opened.write.bind(opened);
    opened.write = (options) => write(inner, options);
    return opened;
  };
  wrapped.open = async function (this: Wrapped) {
    if (name === "during-start") dieSoon(count);
    failing = false;
    await open.call(this);
    if (name === "after-open") await die();
    if (name === "during-compaction") compactAt(this, count);
  };
  wrapped.close = async function (this: Wrapped) {
    if (name === "during-stop") dieSoon(count);
    if (name === "before-close") await die();
    await close.call(this);
  };
}

/** Compacts everything after this many milliseconds, and kills the process a short time into it. */
function compactAt(database: Wrapped, ms: number): void {
  setTimeout(() => {
    dieSoon(Math.random() * 30);
    // A store that is being created is opened twice; this database may be closed by then.
    database.compactRange(Buffer.alloc(0), Buffer.from([0xff, 0xff])).catch(() => {});
  }, ms);
}
