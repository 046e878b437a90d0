// Names of streams: what a name of this protocol stands for in the log. Streams whose names begin
// with `$` are ordinary streams here, with these exceptions:
//
//   $$NAME        the metadata of the stream NAME: its lifecycle, kept as $lifecycle-NAME
//   $ce-CATEGORY  links to all events of streams that begin with `CATEGORY-`, from the index
//   $et-TYPE      links to all events of a type, from the index

import { isUtf8 } from "node:buffer";
import { auditStream, auditTypePrefix, isSystemName } from "../../../domain/event.ts";
import type { Limits } from "../../../domain/limits.ts";
import { anyEvent, selectAll, type Selection } from "../../../domain/query.ts";
import {
  lifecycleEventTypes,
  lifecycleStream,
  streamKeptIn,
} from "../../../domain/lifecycle/lifecycle-event.ts";
import {
  lossStream,
  lossType,
  removalStream,
  removalType,
} from "../../../domain/lifecycle/removal-event.ts";
import type { StreamIdentifier } from "../../../gen/event_store/client/shared_pb.js";
import { bufferOf, isPlainAscii } from "./bytes.ts";
import { invalidArgument } from "./errors.ts";

export type StreamTarget =
  | { readonly kind: "stream"; readonly name: string }
  /** `name` is the stream that the metadata is of. */
  | { readonly kind: "metadata"; readonly name: string }
  /** A stream of links; `selection` is what they point to. */
  | { readonly kind: "links"; readonly name: string; readonly selection: Selection };

/** Every event, those of system streams included. */
export const selectEverything: Selection = Object.freeze({ ...selectAll, withSystem: true });

const categoryPrefix = "$ce-";
const typePrefix = "$et-";
/** The prefix of streams that hold the settings of persistent subscriptions. */
export const settingsStreamPrefix = "$persistentSubscriptionConfig-";

export function streamTargetOf(name: string): StreamTarget {
  if (!isSystemName(name)) return { kind: "stream", name };
  if (name.startsWith("$$") && name.length > 2) return { kind: "metadata", name: name.slice(2) };
  if (name.startsWith(categoryPrefix)) {
    const streamPrefixes = [`${name.slice(categoryPrefix.length)}-`];
    return { kind: "links", name, selection: query({ streamPrefixes }) };
  }
  if (name.startsWith(typePrefix)) {
    return { kind: "links", name, selection: query({ types: [name.slice(typePrefix.length)] }) };
  }
  return { kind: "stream", name };
}

function query(item: { streamPrefixes?: string[]; types?: string[] }): Selection {
  return { kind: "query", query: { items: [{ ...anyEvent, ...item }] } };
}

/** What to read for a target. */
export function selectionOfTarget(target: StreamTarget): Selection {
  switch (target.kind) {
    case "links":
      return target.selection;
    case "metadata":
      return { kind: "stream", stream: lifecycleStream(target.name), withSystem: true };
    case "stream":
      return { kind: "stream", stream: target.name, withSystem: true };
  }
}

/** The name of a stream of the log in this protocol. */
export function presentedName(stream: string): string {
  const kept = streamKeptIn(stream);
  return kept === undefined ? stream : `$$${kept}`;
}

const reservedNames = new Set([auditStream, removalStream, lossStream]);
const reservedPrefixes = [categoryPrefix, typePrefix, settingsStreamPrefix];
const reservedTypes = new Set<string>([...lifecycleEventTypes, removalType, lossType]);

/** Whether only the store itself writes to the stream, and decides how long its events are kept. */
export function isReserved(name: string): boolean {
  if (!isSystemName(name)) return false;
  const { name: stream } = streamTargetOf(name);
  return (
    streamKeptIn(stream) !== undefined ||
    reservedNames.has(stream) ||
    reservedPrefixes.some((prefix) => stream.startsWith(prefix))
  );
}

/** Whether only the store itself writes such events: it reads them as its own records. */
export function isReservedType(type: string): boolean {
  return isSystemName(type) && (reservedTypes.has(type) || type.startsWith(auditTypePrefix));
}

const control = /\p{Cc}/u;

/** The name in a request. Throws INVALID_ARGUMENT. */
export function nameOf(identifier: StreamIdentifier | undefined, limits: Limits): string {
  return checkedName(identifier?.streamName ?? new Uint8Array(), limits);
}

/** Throws INVALID_ARGUMENT. */
export function checkedName(bytes: Uint8Array, { streamNameBytesMax }: Limits): string {
  if (bytes.length === 0) throw invalidArgument("the stream name is empty");
  // The longest names that requests contain are those of metadata streams.
  if (bytes.length > streamNameBytesMax + 2) {
    throw invalidArgument(`the stream name has more than ${streamNameBytesMax} bytes`);
  }
  const buffer = bufferOf(bytes);
  if (isPlainAscii(bytes)) return buffer.toString("latin1");
  if (!isUtf8(bytes)) throw invalidArgument("the stream name is not valid UTF-8");
  const name = buffer.toString("utf8");
  if (control.test(name)) throw invalidArgument("the stream name has a control character");
  return name;
}
