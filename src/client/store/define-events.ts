// `defineEvents`: the codec between an application's union of events and JSON payloads, with hooks
// to check recorded events and to upgrade old ones.

import type { EventCodec, EventShape, NewEvent, RawEvent } from "./event.ts";
import { jsonText } from "./json-text.ts";
import { decodesLate } from "./lazy-event.ts";

export type EventOfType<E extends EventShape, T extends E["type"]> = Extract<
  E,
  { readonly type: T }
>;
export type DataOf<E extends EventShape, T extends E["type"]> = "data" extends keyof EventOfType<
  E,
  T
>
  ? EventOfType<E, T>["data"]
  : undefined;

/** An event between its stored form and the present one. */
export interface OldEvent {
  readonly type: string;
  readonly data: unknown;
}

export interface EventOptions<E extends EventShape> {
  /**
   * Checks and types the data of recorded events, by type. Throws if it is invalid. Events of other
   * types are then refused. Absent: data is not checked.
   */
  readonly parse?: {
    readonly [T in E["type"]]: (data: unknown, event: RawEvent) => DataOf<E, T>;
  };
  /**
   * Upgrades an old form, by the type under which it was stored: to another type, other data, or
   * both. If the type changes, the upcaster of the new type is applied next. Runs before `parse`.
   */
  readonly upcast?: Readonly<Record<string, (old: OldEvent, event: RawEvent) => OldEvent>>;
  /** Tags derived from the event, in addition to those given to an append. */
  readonly tags?: (event: E) => readonly string[];
  /**
   * Converts from and to JSON text if the language's own JSON does not suffice, for example for
   * exact decimals. Payloads are stored byte for byte as `stringify` returns them.
   */
  readonly json?: {
    readonly parse: (text: string) => unknown;
    readonly stringify: (data: unknown) => string;
  };
}

const jsonType = "application/json";
const upcastsMax = 100;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const nothing = new Uint8Array(0);

/**
 * `defineEvents<AccountEvent>()` does not check what it reads. Events of the union are stored as
 * JSON. Payloads with another content type are passed to `parse` (or returned) as bytes.
 *
 * Without `parse`, reads and subscriptions parse the JSON of an event when its `data` is first
 * accessed, once. If it is not JSON, that access throws the `MalformedEventError`.
 */
export function defineEvents<E extends EventShape>(options: EventOptions<E> = {}): EventCodec<E> {
  const { tags, json } = options;
  const upcast = new Map(Object.entries(options.upcast ?? {}));
  const parse =
    options.parse &&
    new Map<string, (data: unknown, event: RawEvent) => unknown>(Object.entries(options.parse));
  const stringify = json?.stringify ?? jsonText;
  const parseText = json?.parse ?? (JSON.parse as (text: string) => unknown);
  const codec: EventCodec<E> = {
    encode(event: NewEvent<E>) {
      refuseStray(event);
      const { data } = event;
      const payload = data === undefined ? nothing : encoder.encode(stringify(data));
      return { payload, contentType: jsonType, tags: tags?.(event) ?? [] };
    },
    decode(event: RawEvent): E {
      const stored = { type: event.type, data: storedData(event, parseText) };
      const { type, data } = upcasted(stored, event, upcast);
      if (parse === undefined) return (data === undefined ? { type } : { type, data }) as E;
      const parser = parse.get(type);
      if (parser === undefined) throw new TypeError(`"${type}" is none of the defined events`);
      const parsed = parser(data, event);
      return (parsed === undefined ? { type } : { type, data: parsed }) as E;
    },
    storedTypes(types) {
      return [...new Set([...types, ...upcast.keys()])];
    },
  };
  return decodesLate(codec, ({ type, payload }) => {
    return parse === undefined && payload.length > 0 && !upcast.has(type);
  });
}

/**
 * The members of a new event. Those of a recorded event are also allowed, so that it can be
 * appended again.
 */
const eventMembers = new Set(
  [
    "type data id stream tags metadata",
    "version position contentType payload recordedAt recordedAtMicros principal traceParent",
  ].flatMap((names) => names.split(" ")),
);

/** An unknown member would be lost: it belongs in the data. */
function refuseStray(event: EventShape): void {
  for (const [name, value] of Object.entries(event)) {
    if (value === undefined || eventMembers.has(name)) continue;
    throw new TypeError(`"${name}" is no member of an event: put it into the data`);
  }
}

function storedData(
  { payload, contentType }: RawEvent,
  parseText: (text: string) => unknown,
): unknown {
  if (payload.length === 0) return undefined;
  const isJson = contentType === jsonType || isJsonLike(contentType);
  return isJson ? parseText(decoder.decode(payload)) : payload;
}

function isJsonLike(contentType: string): boolean {
  const [media = ""] = contentType.split(";", 1);
  return media === jsonType || media.endsWith("+json");
}

function upcasted(
  stored: OldEvent,
  event: RawEvent,
  upcast: ReadonlyMap<string, (old: OldEvent, event: RawEvent) => OldEvent>,
): OldEvent {
  let current = stored;
  for (let step = 0; step < upcastsMax; step += 1) {
    const next = upcast.get(current.type)?.(current, event);
    if (next === undefined) return current;
    const settled = next.type === current.type;
    current = { type: next.type, data: next.data };
    if (settled) return current;
  }
  throw new TypeError(`"${stored.type}" is upcast for ever`);
}

/** Without a definition: any type, with any data that JSON supports. */
export interface JsonEvent {
  readonly type: string;
  readonly data?: unknown;
}

export const jsonEvents: EventCodec<JsonEvent> = defineEvents<JsonEvent>();
