// Events of reads and subscriptions. Parsing the JSON of an event costs more than all the rest of
// it, so that where the codec allows, it waits until somebody looks at the data.

import { inspect } from "node:util";
import {
  decoded,
  recordedEvent,
  type EventCodec,
  type EventShape,
  type RawEvent,
  type RecordedEvent,
} from "./event.ts";

/** Throws a `MalformedEventError` if the codec does not accept it, or `data` does when accessed. */
export function readEvent<E extends EventShape>(
  raw: RawEvent,
  codec: EventCodec<E>,
): RecordedEvent<E> {
  if (codec.isLazy?.(raw) !== true) return recordedEvent(raw, codec);
  return new LazyEvent(raw, codec) as unknown as RecordedEvent<E>;
}

/** Has `data` as a property of its own, so that `{ ...event }` and JSON have it as well. */
class LazyEvent implements RawEvent {
  readonly type;
  readonly id;
  readonly stream;
  readonly version;
  readonly position;
  readonly tags;
  readonly metadata;
  readonly contentType;
  readonly payload;
  readonly recordedAt;
  readonly recordedAtMicros;
  readonly principal;
  readonly traceParent;
  /** Undefined: `#data` is the data. */
  #codec: EventCodec<EventShape> | undefined;
  #data: unknown;

  constructor(raw: RawEvent, codec: EventCodec<EventShape>) {
    this.type = raw.type;
    this.id = raw.id;
    this.stream = raw.stream;
    this.version = raw.version;
    this.position = raw.position;
    this.tags = raw.tags;
    this.metadata = raw.metadata;
    this.contentType = raw.contentType;
    this.payload = raw.payload;
    this.recordedAt = raw.recordedAt;
    this.recordedAtMicros = raw.recordedAtMicros;
    this.principal = raw.principal;
    this.traceParent = raw.traceParent;
    this.#codec = codec;
    Object.defineProperty(this, "data", LazyEvent.data);
  }

  private static readonly data: PropertyDescriptor & ThisType<LazyEvent> = {
    enumerable: true,
    configurable: true,
    get() {
      if (this.#codec !== undefined) this.#settle(decoded(this, this.#codec).data);
      return this.#data;
    },
    set(value: unknown) {
      this.#settle(value);
    },
  };

  #settle(data: unknown): void {
    this.#data = data;
    this.#codec = undefined;
  }

  /** `console.log` shows the data, or why there is none. */
  [inspect.custom](): unknown {
    const entries = Object.keys(this).map((name) => [name, shown(this, name as keyof this)]);
    return Object.fromEntries(entries);
  }
}

function shown<T extends object>(event: T, name: keyof T): unknown {
  try {
    return event[name];
  } catch (error) {
    return error;
  }
}
