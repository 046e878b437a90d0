// Decodes request bytes with the generated codec. Before the codec makes objects of untrusted
// bytes, an inspection bounds their number and finds malformed fields, so that the answer can name
// them.

import {
  fromBinary,
  type DescField,
  type DescMessage,
  type MessageShape,
} from "@bufbuild/protobuf";
import { AnnalsError, invalidField, type FieldViolation } from "../../domain/errors.ts";
import { atOnce, stepBytes, type Steps } from "../../domain/steps.ts";
import { findEntries, inspectWire, WireWalk, type Inspection } from "./wire-inspection.ts";

/**
 * The most messages nested in one request. An append at its limits stays below it. Only requests
 * that are made to fill the server's memory with empty objects exceed it.
 */
const nestedMessagesMax = 1 << 20;

interface DecodeOptions {
  /** The caller refuses some of them. */
  readonly readUnknownFields: boolean;
}

/** Throws INVALID_FIELD where the bytes are not a message of this schema. */
export function decodeRequest<S extends DescMessage>(
  schema: S,
  bytes: Uint8Array,
  options?: DecodeOptions,
): MessageShape<S> {
  const part = { whole: schema, path: "", walk: new WireWalk(nestedMessagesMax) };
  return atOnce(decodePart(schema, bytes, part, options));
}

/** Smaller requests are decoded in one step, unless they nest many messages. */
const stepRequestBytesMin = 64 * 1024;
/**
 * What a step costs for each byte of the request and for each message in it, as the scheduler
 * counts: see domain/steps.ts.
 */
const stepShare = 1 / 4;
const messageCost = 16;

/** As `decodeRequest`. A step ends with the inspection, and one with the request. */
export function* decodeInSteps<S extends DescMessage>(
  schema: S,
  bytes: Uint8Array,
): Steps<MessageShape<S>> {
  const walk = new WireWalk(nestedMessagesMax);
  return yield* decodePart(schema, bytes, { whole: schema, path: "", walk });
}

/** A message whose list is decoded entry by entry. */
export interface SplitRequest<S extends DescMessage> {
  /** Without the list. */
  readonly rest: MessageShape<S>;
  /** The bytes of each entry: a view. */
  readonly entries: readonly Uint8Array[];
  /** The entry with this index. Throws INVALID_FIELD, as if all had been decoded together. */
  readonly decode: <E extends DescMessage>(
    schema: E,
    entry: Uint8Array,
    index: number,
    options?: DecodeOptions,
  ) => Steps<MessageShape<E>>;
}

/** As `decodeRequest`, but the entries of a list of messages are decoded by the caller. */
export function splitRequest<S extends DescMessage>(
  schema: S,
  listName: keyof S["field"] & string,
  bytes: Uint8Array,
): SplitRequest<S> {
  const walk = new WireWalk(nestedMessagesMax);
  const list = schema.field[listName] as DescField;
  const found = findEntries(list, bytes, walk);
  if (found.problem !== undefined) {
    throw problemIn(found.problem, found, { whole: schema, path: "" });
  }
  const entries: Uint8Array[] = [];
  for (let i = 0; i < found.entries.length; i += 2) {
    entries.push(bytes.subarray(found.entries[i], found.entries[i + 1]));
  }
  const others: Uint8Array[] = [];
  for (let i = 0; i < found.rest.length; i += 2) {
    others.push(bytes.subarray(found.rest[i], found.rest[i + 1]));
  }
  walk.nested += entries.length;
  const rest = atOnce(decodePart(schema, Buffer.concat(others), { whole: schema, path: "", walk }));
  return {
    rest,
    entries,
    decode: (entrySchema, entry, index, options) => {
      const path = `${list.name}[${index}]`;
      return decodePart(entrySchema, entry, { whole: schema, path, walk }, options);
    },
  };
}

interface Part {
  readonly whole: DescMessage;
  /** Where in the request it is. */
  readonly path: string;
  /** What is counted over all parts. */
  readonly walk: WireWalk;
}

function* decodePart<S extends DescMessage>(
  schema: S,
  bytes: Uint8Array,
  { whole, path, walk }: Part,
  options: DecodeOptions = { readUnknownFields: false },
): Steps<MessageShape<S>> {
  const nestedBefore = walk.nested;
  const found = inspectWire(schema, bytes, nestedMessagesMax, walk);
  if (found.problem !== undefined) throw problemIn(found.problem, found, { whole, path });
  if (found.nestedMessages > nestedMessagesMax) {
    throw malformed(whole, "", `nests more than ${nestedMessagesMax} messages`);
  }
  const cost = bytes.length * stepShare + (walk.nested - nestedBefore) * messageCost;
  const isLong = bytes.length >= stepRequestBytesMin || cost >= stepBytes;
  if (isLong) yield cost;
  const message = decodedBy(schema, bytes, options, { whole, path });
  if (isLong) yield cost;
  return message;
}

/** Throws INVALID_FIELD for what the generated codec refuses. */
function decodedBy<S extends DescMessage>(
  schema: S,
  bytes: Uint8Array,
  options: DecodeOptions,
  { whole, path }: Pick<Part, "whole" | "path">,
): MessageShape<S> {
  try {
    return fromBinary(schema, bytes, options);
  } catch (error) {
    throw malformed(whole, path, error instanceof Error ? error.message : String(error));
  }
}

function problemIn(
  problem: FieldViolation,
  { isBeyondLimit }: Inspection,
  { whole, path }: Pick<Part, "whole" | "path">,
): AnnalsError {
  const field = [path, problem.field].filter((part) => part !== "").join(".");
  if (isBeyondLimit) return invalidField(field, problem.description);
  return malformed(whole, field, problem.description);
}

function malformed(schema: DescMessage, field: string, description: string): AnnalsError {
  const message = `not a valid ${schema.typeName}: ${field === "" ? "it" : field} ${description}`;
  return new AnnalsError(
    { reason: "INVALID_FIELD", violations: [{ field, description }] },
    message,
  );
}
