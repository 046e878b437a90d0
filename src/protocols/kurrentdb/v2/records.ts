// Records of version 2 of the protocol: a schema instead of type and content type, and typed
// properties instead of metadata bytes. In version 1 their properties are JSON.

import { randomUUID } from "node:crypto";
import { toJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Limits } from "../../../domain/limits.ts";
import {
  SchemaFormat,
  type AppendRecord,
} from "../../../gen/kurrentdb/protocol/v2/streams/streams_pb.js";
import { invalidArgument } from "../mapping/errors.ts";
import { uuidText } from "../mapping/ids.ts";
import { checked, type Proposed } from "../append/proposed-event.ts";
import { recordTooLarge } from "./errors.ts";

/** The name of each format in version 1, and the content type in the log. */
const formats: Readonly<Partial<Record<SchemaFormat, readonly [string, string]>>> = {
  [SchemaFormat.JSON]: ["Json", "application/json"],
  [SchemaFormat.PROTOBUF]: ["Protobuf", "application/protobuf"],
  [SchemaFormat.AVRO]: ["Avro", "application/avro"],
  [SchemaFormat.BYTES]: ["Bytes", "application/octet-stream"],
};

/** Throws INVALID_ARGUMENT. */
export function proposedOf(record: AppendRecord, stream: string, limits: Limits): Proposed {
  const { recordId, schema, properties, data } = record;
  const id = recordId === undefined || recordId === "" ? randomUUID() : uuidText(recordId);
  if (id === undefined) throw invalidArgument("record_id is not a UUID");
  if (schema === undefined || schema.name === "") throw invalidArgument("schema.name is missing");
  const [format, contentType] = formats[schema.format] ?? [];
  if (format === undefined || contentType === undefined) {
    throw invalidArgument("schema.format is missing, or there is no such format");
  }
  const members: Record<string, JsonValue> = {
    "$schema.name": schema.name,
    "$schema.format": format,
    ...(schema.id !== undefined && { "$schema.id": schema.id }),
  };
  for (const [name, value] of Object.entries(properties))
    members[name] = toJson(ValueSchema, value);
  const metadata = Buffer.from(JSON.stringify(members));
  const size = metadata.length + data.length;
  if (size > limits.eventBytesMax) {
    throw recordTooLarge(stream, id, size, limits.eventBytesMax);
  }
  return checked({ id, type: schema.name, contentType, metadata, data }, limits);
}
