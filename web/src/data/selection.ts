// Which events are looked at: the parts of a query, in the address of a page and in a request.

import type { QueryJson } from "../../../src/gen/annals/v1/query_pb.js";

export interface Filter {
  readonly types: readonly string[];
  /** All of them. */
  readonly tags: readonly string[];
  readonly prefixes: readonly string[];
}

export function filterOf(parameters: URLSearchParams): Filter {
  const all = (name: string) => parameters.getAll(name).filter((value) => value !== "");
  return { types: all("type"), tags: all("tag"), prefixes: all("prefix") };
}

/** For the address of a page. */
export function parametersOf({ types, tags, prefixes }: Filter): [string, string][] {
  return [
    ...types.map((value): [string, string] => ["type", value]),
    ...tags.map((value): [string, string] => ["tag", value]),
    ...prefixes.map((value): [string, string] => ["prefix", value]),
  ];
}

export function isEmptyFilter({ types, tags, prefixes }: Filter): boolean {
  return types.length + tags.length + prefixes.length === 0;
}

/** Undefined: every event. */
export function queryOf(filter: Filter): QueryJson | undefined {
  if (isEmptyFilter(filter)) return undefined;
  const { types, tags, prefixes } = filter;
  const item = {
    ...(types.length > 0 && { types: [...types] }),
    ...(tags.length > 0 && { tags: [...tags] }),
    ...(prefixes.length > 0 && { streamPrefixes: [...prefixes] }),
  };
  return { items: [item] };
}
