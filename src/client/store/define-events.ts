// `defineEvents`: the codec between an application's union of events and JSON payloads, with hooks
// to check what comes out of the store and to bring old events up to date.

import type { EventCodec, EventShape, NewEvent, RawEvent } from "./event.ts";
import { jsonText } from "./json-text.ts";

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

/** An event on its way from the form it was stored in to that of today. */
export interface OldEvent {
  readonly type: string;
  readonly data: unknown;
}

export interface EventOptions<E extends EventShape> {
  /**
   * Checks the data of a recorded event, type by type, and answers it typed; throws where it is not
   * what it should be. With this, an event of any other type is refused. Absent: data is believed.
   */
  readonly parse?: {
    readonly [T in E["type"]]: (data: unknown, event: RawEvent) => DataOf<E, T>;
  };
  /**
   * From an older form, by the type it was stored under, to a newer one: another type, other data,
   * or both. Where the type changes, the upcaster of the new type follows. Before `parse`.
   */
  readonly upcast?: Readonly<Record<string, (old: OldEvent, event: RawEvent) => OldEvent>>;
  /** Tags that follow from the event, beside those an append names. */
  readonly tags?: (event: E) => readonly string[];
  /**
   * From and to JSON text, where that of the language does not do (exact decimals, say). Payloads
   * are stored byte for byte as `stringify` wrote them.
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
 * `defineEvents<AccountEvent>()` believes what it reads. Events of the union are stored as JSON;
 * what was stored with another content type is handed to `parse` (or through) as bytes.
 */
export function defineEvents<E extends EventShape>(options: EventOptions<E> = {}): EventCodec<E> {
  const { tags, json } = options;
  const upcast = new Map(Object.entries(options.upcast ?? {}));
  const parse =
    options.parse &&
    new Map<string, (data: unknown, event: RawEvent) => unknown>(Object.entries(options.parse));
  const stringify = json?.stringify ?? jsonText;
  const parseText = json?.parse ?? (JSON.parse as (text: string) => unknown);
  return {
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
}

/** What a new event may have; what a recorded one has is no harm where one is appended again. */
const eventMembers = new Set(
  [
    "type data id stream tags metadata",
    "version position contentType payload recordedAt recordedAtMicros",
  ].flatMap((names) => names.split(" ")),
);

/** A member that nobody knows would be lost: its place is in the data. */
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
  const [media = ""] = contentType.split(";", 1);
  const isJson = media === jsonType || media.endsWith("+json");
  return isJson ? parseText(decoder.decode(payload)) : payload;
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

/** Where nothing is defined: any type, with any data that JSON can carry. */
export interface JsonEvent {
  readonly type: string;
  readonly data?: unknown;
}

export const jsonEvents: EventCodec<JsonEvent> = defineEvents<JsonEvent>();
