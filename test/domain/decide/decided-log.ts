// A log as a list, and batches decided on it.
import type { Append, Outcome } from "../../../src/domain/append.ts";
import { decideBatch, factsNeeded, type Decision } from "../../../src/domain/decide/decide.ts";
import type { CommitEvent, StoredEvent } from "../../../src/domain/event.ts";
import { matches } from "../../../src/domain/query.ts";
import { recordsIn, storedEvent } from "../../../src/domain/record.ts";
import { newAppend, newEvent, type EventSketch } from "../../support/events.ts";

export function recordOf(event: CommitEvent): Uint8Array {
  return [...recordsIn(event.frame)][0] as Uint8Array;
}

/** A log as a list, and batches decided on it. */
export class Log {
  readonly events: StoredEvent[] = [];

  get head() {
    const last = this.events.at(-1);
    return { position: this.events.length, recordedAt: last?.recordedAt ?? 0 };
  }

  versions(): Map<string, number> {
    return new Map(this.events.map(({ stream, version }) => [stream, version]));
  }

  decide(appends: readonly Append[], now = 1_000): Decision {
    const needed = factsNeeded(appends);
    const versions = this.versions();
    return decideBatch({
      appends,
      now,
      idChance: 0,
      facts: {
        head: this.head,
        versions: new Map([...needed.streams].map((name) => [name, versions.get(name) ?? 0])),
        lifecycles: new Map(),
        events: new Map(
          this.events.filter(({ id }) => needed.ids.includes(id)).map((event) => [event.id, event]),
        ),
        matches: needed.conditions.map(
          ({ query, after }) =>
            this.events.find((event) => event.position > after && matches(query, event))
              ?.position ?? 0,
        ),
      },
    });
  }

  store(events: readonly CommitEvent[]): void {
    for (const event of events) this.events.push(storedEvent(recordOf(event)));
  }

  append(...appends: Append[]): Outcome[] {
    const { outcomes, events } = this.decide(appends);
    this.store(events);
    return outcomes;
  }
}

export function inStream(stream: string, sketch: EventSketch = {}): Append {
  return newAppend([newEvent({ stream, ...sketch })]);
}
