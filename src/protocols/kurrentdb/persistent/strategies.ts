// Which consumer of a persistent subscription gets an event.

import { parseJson } from "../../../domain/json.ts";
import type { RecordView } from "../mapping/record-view.ts";
import type { Consumer } from "./consumer.ts";
import type { StrategyName } from "./settings.ts";

/** Undefined: it waits for a consumer to have room. `turn`: the index of the next in turn. */
export function choose(
  strategy: StrategyName,
  consumers: readonly Consumer[],
  turn: number,
  key: string,
): Consumer | undefined {
  switch (strategy) {
    case "RoundRobin":
      return (
        consumers.slice(turn).find(({ hasRoom }) => hasRoom) ??
        consumers.find(({ hasRoom }) => hasRoom)
      );
    case "DispatchToSingle":
      return consumers.find(({ hasRoom }) => hasRoom);
    case "Pinned":
    case "PinnedByCorrelation": {
      const pinned = consumers[hash(key) % Math.max(consumers.length, 1)];
      return pinned?.hasRoom === true ? pinned : undefined;
    }
  }
}

/** What pins an event to a consumer. Empty: nothing does. */
export function keyOfEvent(strategy: StrategyName, view: RecordView): string {
  if (strategy === "Pinned") return view.stream;
  if (strategy !== "PinnedByCorrelation") return "";
  const metadata = parseJson(view.metadata);
  const isObject = typeof metadata === "object" && metadata !== null && !Array.isArray(metadata);
  const correlation = isObject ? metadata["$correlationId"] : undefined;
  return typeof correlation === "string" ? correlation : view.stream;
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  }
  return value;
}
