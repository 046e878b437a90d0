// Decodes request bytes with the generated codec. Before the codec makes objects of untrusted
// bytes, an inspection bounds their number and finds malformed fields, so that the answer can name
// them.

import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { AnnalsError, invalidField } from "../../domain/errors.ts";
import { inspectWire } from "./wire-inspection.ts";

/**
 * The most messages nested in one request. An append at its limits stays below it. Only requests
 * that are made to fill the server's memory with empty objects exceed it.
 */
const nestedMessagesMax = 1 << 20;

/**
 * Throws INVALID_FIELD if the bytes are not a message of this schema. `readUnknownFields`: the
 * caller refuses some unknown fields.
 */
export function decodeRequest<S extends DescMessage>(
  schema: S,
  bytes: Uint8Array,
  { readUnknownFields } = { readUnknownFields: false },
): MessageShape<S> {
  const found = inspectWire(schema, bytes, nestedMessagesMax);
  const { nestedMessages, problem } = found;
  if (problem !== undefined && found.isBeyondLimit) {
    throw invalidField(problem.field, problem.description);
  }
  if (problem !== undefined) throw malformed(schema, problem.field, problem.description);
  if (nestedMessages > nestedMessagesMax) {
    throw malformed(schema, "", `nests more than ${nestedMessagesMax} messages`);
  }
  try {
    return fromBinary(schema, bytes, { readUnknownFields });
  } catch (error) {
    throw malformed(schema, "", error instanceof Error ? error.message : String(error));
  }
}

function malformed(schema: DescMessage, field: string, description: string): AnnalsError {
  const message = `not a valid ${schema.typeName}: ${field === "" ? "it" : field} ${description}`;
  return new AnnalsError(
    { reason: "INVALID_FIELD", violations: [{ field, description }] },
    message,
  );
}
