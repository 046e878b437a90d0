// Queries from the wire: one conversion for reads, subscriptions and append conditions.

import type { Limits } from "../../domain/limits.ts";
import { possibleStreams, type Query, type QueryItem } from "../../domain/query.ts";
import type { Query as WireQuery, QueryItem as WireItem } from "../../gen/annals/v1/query_pb.js";
import { checkCount, checkName, streamLimit } from "./checks.ts";
import type { Violations } from "./violations.ts";

export function convertQuery(
  v: Violations,
  field: string,
  query: WireQuery,
  limits: Limits,
): Query {
  const { queryItemsMax } = limits;
  checkCount(v, `${field}.items`, query.items.length, "query_items_max", queryItemsMax);
  const within = query.items.slice(0, queryItemsMax);
  return { items: within.map((item, i) => convertItem(v, `${field}.items[${i}]`, item, limits)) };
}

function convertItem(v: Violations, field: string, item: WireItem, limits: Limits): QueryItem {
  const { streams, streamPrefixes, types, tags } = item;
  const values = streams.length + streamPrefixes.length + types.length + tags.length;
  const converted = { streams, streamPrefixes, types, tags };
  if (values > limits.queryValuesMax) {
    checkCount(v, field, values, "query_values_max", limits.queryValuesMax);
    return converted;
  }
  const stream = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
  const type = { name: "type_bytes_max", bytesMax: limits.typeBytesMax };
  const tag = { name: "tag_bytes_max", bytesMax: limits.tagBytesMax };
  streams.forEach((name, i) =>
    checkName(v, `${field}.streams[${i}]`, name, streamLimit(name, limits)),
  );
  streamPrefixes.forEach((name, i) => checkName(v, `${field}.stream_prefixes[${i}]`, name, stream));
  types.forEach((name, i) => checkName(v, `${field}.types[${i}]`, name, type));
  tags.forEach((name, i) => checkName(v, `${field}.tags[${i}]`, name, tag));
  const possible = new Set(possibleStreams(converted));
  streams.forEach((name, i) => {
    if (possible.has(name)) return;
    const why = "begins with none of the item's stream_prefixes, so it can match no event";
    v.add(`${field}.streams[${i}]`, why);
  });
  return converted;
}
