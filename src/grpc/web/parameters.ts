// What a URL asks for: events of a stream or of a query, and where to begin. Strict, as requests in
// JSON are.

import { create, fromJsonString, type MessageInitShape } from "@bufbuild/protobuf";
import { TimestampSchema, type Timestamp } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../domain/errors.ts";
import { nearTo } from "../../domain/near.ts";
import { QuerySchema, type Query } from "../../gen/annals/v1/query_pb.js";
import { View } from "../../gen/annals/v1/event_pb.js";
import { messageOfJson } from "./message-json.ts";

export class Parameters {
  private readonly values = new Map<string, string[]>();

  /** Throws INVALID_FIELD where one is not among the known ones. */
  constructor(query: string, known: readonly string[]) {
    for (const [name, value] of new URLSearchParams(query)) {
      if (!known.includes(name)) {
        const like = nearTo(name, known);
        const hint =
          like === undefined ? `, but of ${known.join(", ")}` : `; did you mean ${like}?`;
        throw invalidField(name, `is no parameter here${hint}`);
      }
      this.values.set(name, [...(this.values.get(name) ?? []), value]);
    }
  }

  all(name: string): readonly string[] {
    return this.values.get(name) ?? [];
  }

  /** Throws INVALID_FIELD if it is there twice. */
  one(name: string): string | undefined {
    const all = this.all(name);
    if (all.length > 1) throw invalidField(name, "is given twice");
    return all[0];
  }

  whole(name: string): bigint | undefined {
    const text = this.one(name);
    if (text === undefined) return undefined;
    if (!/^\d{1,16}$/.test(text)) throw invalidField(name, "is not a whole number");
    return BigInt(text);
  }

  time(name: string): Timestamp | undefined {
    const text = this.one(name);
    if (text === undefined) return undefined;
    try {
      return fromJsonString(TimestampSchema, JSON.stringify(text));
    } catch {
      throw invalidField(name, "is not a time like 2026-01-31T12:00:00Z");
    }
  }

  /** One of these names. */
  choice<T>(name: string, choices: Readonly<Record<string, T>>, initial: T): T {
    const text = this.one(name);
    if (text === undefined) return initial;
    if (!Object.hasOwn(choices, text)) {
      throw invalidField(name, `is not of ${Object.keys(choices).join(", ")}`);
    }
    return choices[text] as T;
  }
}

export const selectionNames = ["stream", "type", "tag", "prefix", "query"] as const;

type Selection =
  | { readonly case: "stream"; readonly value: string }
  | { readonly case: "query"; readonly value: Query }
  | { readonly case: undefined };

/** `stream` alone; or `type`, `tag` and `prefix`, each as often as needed; or `query` as JSON. */
export function selectionOfUrl(parameters: Parameters): Selection {
  const stream = parameters.one("stream");
  const query = parameters.one("query");
  const item: MessageInitShape<typeof QuerySchema>["items"] = [
    {
      types: [...parameters.all("type")],
      tags: [...parameters.all("tag")],
      streamPrefixes: [...parameters.all("prefix")],
      ...(stream !== undefined && { streams: [stream] }),
    },
  ];
  const hasParts = ["type", "tag", "prefix"].some((name) => parameters.all(name).length > 0);
  if (query !== undefined) {
    if (hasParts || stream !== undefined) {
      throw invalidField("query", "excludes stream, type, tag and prefix");
    }
    return { case: "query", value: messageOfJson(QuerySchema, Buffer.from(query), "query") };
  }
  if (hasParts) return { case: "query", value: create(QuerySchema, { items: item }) };
  return stream === undefined ? { case: undefined } : { case: "stream", value: stream };
}

export const viewChoices = { json: View.JSON, full: View.FULL, headers: View.HEADERS } as const;
