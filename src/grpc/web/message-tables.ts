// What is made of the descriptor of a message type, once for each type.

import type { DescMessage } from "@bufbuild/protobuf";

/** Tables that `make` makes when they are first asked for, because types contain themselves. */
export function tablesBy<T>(make: (schema: DescMessage) => T): (schema: DescMessage) => T {
  const tables = new Map<DescMessage, T>();
  return (schema) => {
    let table = tables.get(schema);
    if (table === undefined) tables.set(schema, (table = make(schema)));
    return table;
  };
}
