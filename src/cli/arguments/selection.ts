// The options that select events: a stream, or a query of stream prefixes, types and tags, or a
// query as JSON, and a range.

import { fromJsonString, type MessageInitShape } from "@bufbuild/protobuf";
import { QuerySchema } from "../../gen/annals/v1/query_pb.js";
import type { ReadRequestSchema } from "../../gen/annals/v1/read_pb.js";
import { UsageError, wholeNumber } from "./options.ts";
import { timestampOf } from "./time.ts";

export const selectionOptions = {
  type: { type: "string", multiple: true },
  tag: { type: "string", multiple: true },
  prefix: { type: "string", multiple: true },
  "query-json": { type: "string" },
} as const;

export const rangeOptions = {
  "from-version": { type: "string" },
  "from-position": { type: "string" },
  "from-time": { type: "string" },
  "to-version": { type: "string" },
  "to-position": { type: "string" },
  "to-time": { type: "string" },
} as const;

export interface SelectionValues {
  readonly type?: string[] | undefined;
  readonly tag?: string[] | undefined;
  readonly prefix?: string[] | undefined;
  readonly "query-json"?: string | undefined;
}

type ReadInit = MessageInitShape<typeof ReadRequestSchema>;
export type SelectionInit = NonNullable<Exclude<ReadInit, { $typeName: string }>["selection"]>;

/**
 * A stream without other options is read as a stream (by version), otherwise as part of a query.
 */
export function selectionFromFlags(
  values: SelectionValues,
  stream: string | undefined,
): SelectionInit {
  const { type: types = [], tag: tags = [], prefix: streamPrefixes = [] } = values;
  const parts = types.length + tags.length + streamPrefixes.length;
  const json = values["query-json"];
  if (json !== undefined) {
    if (parts > 0 || stream !== undefined) {
      throw new UsageError(
        "--query-json says it all: it goes with no stream, --type, --tag, --prefix",
      );
    }
    return { case: "query", value: queryOf(json) };
  }
  if (parts === 0) {
    return stream === undefined ? { case: undefined } : { case: "stream", value: stream };
  }
  const streams = stream === undefined ? [] : [stream];
  return { case: "query", value: { items: [{ streams, streamPrefixes, types, tags }] } };
}

export function queryOf(json: string) {
  try {
    return fromJsonString(QuerySchema, json);
  } catch (error) {
    throw new UsageError(`--query-json: ${(error as Error).message}`, { cause: error });
  }
}

type RangeValues = { readonly [Name in keyof typeof rangeOptions]?: string | undefined };

/** The `from` and `to` of a read. */
export function rangeOf(values: RangeValues, selection: SelectionInit) {
  const byVersion = values["from-version"] !== undefined || values["to-version"] !== undefined;
  if (byVersion && selection.case !== "stream") {
    throw new UsageError(
      "--from-version and --to-version go with one stream and nothing beside it",
    );
  }
  return { from: fromOf(values), to: toOf(values) };
}

function fromOf(values: RangeValues) {
  const version = values["from-version"];
  const position = values["from-position"];
  const time = values["from-time"];
  single([version, position, time], "--from-version, --from-position and --from-time");
  if (version !== undefined) {
    return { case: "fromVersion", value: numbered(version, "--from-version") } as const;
  }
  if (position !== undefined) {
    return { case: "fromPosition", value: numbered(position, "--from-position") } as const;
  }
  if (time !== undefined) {
    return { case: "fromTime", value: timestampOf(time, "--from-time") } as const;
  }
  return { case: undefined };
}

function toOf(values: RangeValues) {
  const version = values["to-version"];
  const position = values["to-position"];
  const time = values["to-time"];
  single([version, position, time], "--to-version, --to-position and --to-time");
  if (version !== undefined) {
    return { case: "toVersion", value: numbered(version, "--to-version") } as const;
  }
  if (position !== undefined) {
    return { case: "toPosition", value: numbered(position, "--to-position") } as const;
  }
  if (time !== undefined) return { case: "toTime", value: timestampOf(time, "--to-time") } as const;
  return { case: undefined };
}

function numbered(text: string, option: string): bigint {
  return BigInt(wholeNumber(text, option, { min: 1 }));
}

function single(values: readonly unknown[], names: string): void {
  if (values.filter((value) => value !== undefined).length > 1) {
    throw new UsageError(`${names} exclude each other`);
  }
}
