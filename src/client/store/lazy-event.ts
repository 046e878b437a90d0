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

/**
 * For a codec: whether its `decode` leaves the event's type as it is and adds `data` only. Not a
 * member of it, because a copy of the codec may have another `decode`.
 */
const lateCodecs = new WeakMap<object, (event: RawEvent) => boolean>();
const notDecoded = Symbol("not decoded");
const accessors = new WeakMap<EventCodec<EventShape>, PropertyDescriptor>();

/** Lets `decode` of this codec be called when `data` is first accessed, where `addsDataOnly`. */
export function decodesLate<E extends EventShape>(
  codec: EventCodec<E>,
  addsDataOnly: (event: RawEvent) => boolean,
): EventCodec<E> {
  lateCodecs.set(codec, addsDataOnly);
  return codec;
}

/** Throws a `MalformedEventError` if the codec does not accept it, or `data` does when accessed. */
export function readEvent<E extends EventShape>(
  raw: RawEvent,
  codec: EventCodec<E>,
): RecordedEvent<E> {
  if (lateCodecs.get(codec)?.(raw) !== true) return recordedEvent(raw, codec);
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
  #data: unknown = notDecoded;

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
    Object.defineProperty(this, "data", LazyEvent.dataOf(codec));
  }

  /** The property is the same for all events of a codec, which keeps them cheap to make. */
  private static dataOf(codec: EventCodec<EventShape>): PropertyDescriptor {
    const known = accessors.get(codec);
    if (known !== undefined) return known;
    const data: PropertyDescriptor & ThisType<LazyEvent> = {
      enumerable: true,
      configurable: true,
      // Also of a proxy, or what inherits from an event, which have nothing private.
      get() {
        if (!(#data in this)) return decoded(this as RawEvent, codec).data;
        if (this.#data === notDecoded) this.#data = decoded(this, codec).data;
        return this.#data;
      },
      // As of a plain property: a frozen event refuses it.
      set(value: unknown) {
        const plain = { value, enumerable: true, configurable: true, writable: true };
        Object.defineProperty(this, "data", plain);
      },
    };
    accessors.set(codec, data);
    return data;
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
