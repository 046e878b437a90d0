// A walk through the log from its first position, in order: the serial history according to the
// store. What each append expected is compared with what precedes it.
import type { History } from "./history.ts";
import type { Op } from "./op.ts";
import { recordsOf } from "./record.ts";

export class Walk {
  readonly versions = new Map<string, number>();
  /** The positions of the streams (`s:NAME`) and tags (`t:NAME`) that have subscribers. */
  readonly lists = new Map<string, number[]>();
  /** The last position walked. */
  head = 0;
  private readonly history: History;
  readonly name: string;
  private readonly lastOfTag = new Map<string, number>();
  private recordedAt = 0;
  private op: Op | undefined;
  private nextIndex = 0;

  /** `followed` are the keys of the lists to keep. */
  constructor(history: History, name: string, followed: Iterable<string> = []) {
    this.history = history;
    this.name = name;
    for (const key of followed) this.lists.set(key, []);
  }

  batch(batch: Buffer): void {
    for (const record of recordsOf(batch)) this.event(record);
  }

  /** The head was reached. */
  end(head: number): void {
    const { history, name } = this;
    if (head !== this.head)
      history.violate(`${name}: it ended at ${this.head}, the head is ${head}`);
    if (this.op !== undefined) {
      history.violate(`${name}: ${this.op.name} ends after ${this.nextIndex} events`);
    }
  }

  private event(record: Buffer): void {
    const { history, name } = this;
    const seen = history.see(name, record);
    const position = ++this.head;
    if (seen === undefined) return;
    const { op, index, stream, version } = seen;
    if (seen.position !== position) {
      history.violate(`${name}: position ${seen.position} stands where ${position} is due`);
      this.head = seen.position;
    }
    if (seen.recordedAt < this.recordedAt)
      history.violate(`${name}: time goes back at ${position}`);
    this.recordedAt = seen.recordedAt;
    if (index !== this.nextIndex || (this.op !== undefined && this.op !== op)) {
      const due = this.op?.name ?? "a whole append";
      history.violate(`${name}: at ${position} event ${index} of ${op.name} breaks into ${due}`);
    }
    if (index === 0) this.begin(op);
    const before = this.versions.get(stream) ?? 0;
    if (version !== before + 1) {
      history.violate(`${name}: ${stream} goes from version ${before} to ${version}`);
    }
    this.versions.set(stream, version);
    this.lists.get(`s:${stream}`)?.push(position);
    for (const tag of op.shape.tags) {
      this.lastOfTag.set(tag, position);
      this.lists.get(`t:${tag}`)?.push(position);
    }
    this.nextIndex = index + 1 === op.shape.count ? 0 : index + 1;
    this.op = this.nextIndex === 0 ? undefined : op;
  }

  private begin(op: Op): void {
    const { history, name, versions } = this;
    history.walked(
      op,
      op.shape.streams.map((stream) => versions.get(stream) ?? 0),
    );
    const { expectations = [], condition } = op.checks;
    for (const { stream, version } of expectations) {
      const actual = versions.get(stream) ?? 0;
      if (actual === version) continue;
      history.violate(`${name}: ${op.name} expected ${stream} at ${version}; it was at ${actual}`);
    }
    if (condition === undefined) return;
    const last = this.lastOfTag.get(condition.tag) ?? 0;
    if (last <= condition.after) return;
    const wanted = `no ${condition.tag} after ${condition.after}`;
    history.violate(`${name}: ${op.name} wanted ${wanted}; there was one at ${last}`);
  }
}
