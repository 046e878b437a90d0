// Which events of `$all` a read or a subscription wants, by the names of their streams or types.

import type { ReadReq_Options } from "../../../gen/event_store/client/streams/streams_pb.js";
import { invalidArgument } from "../mapping/errors.ts";
import { patternOf, prefixPattern, type Pattern } from "./pattern.ts";

type AnyFilter = ReadReq_Options["filterOption"] & { readonly case: "filter" };

/** The parts of a filter that reads and persistent subscriptions have in common. */
export type WireFilter = Pick<AnyFilter["value"], "window" | "checkpointIntervalMultiplier"> & {
  readonly filter: {
    readonly case?: string | undefined;
    readonly value?: WireExpression | undefined;
  };
};

interface WireExpression {
  readonly regex: string;
  readonly prefix: string[];
}

export interface EventFilter {
  readonly by: "stream" | "type";
  readonly pattern: Pattern;
  /** A checkpoint is due after this many events were examined. */
  readonly checkpointEvents: number;
}

const windowDefault = 32;

/** Throws INVALID_ARGUMENT. */
export function filterOf(wire: WireFilter): EventFilter {
  const { filter, window, checkpointIntervalMultiplier } = wire;
  const by = filter.case === "streamIdentifier" ? "stream" : "type";
  if (filter.value === undefined) throw invalidArgument("the filter is empty");
  if (checkpointIntervalMultiplier === 0) {
    throw invalidArgument("the checkpoint interval multiplier is 0");
  }
  const size = window.case === "max" ? window.value : windowDefault;
  const checkpointEvents = Math.max(size, 1) * checkpointIntervalMultiplier;
  const { regex, prefix } = filter.value;
  const pattern = prefix.length > 0 ? prefixPattern(prefix) : patternOf(regex);
  return { by, pattern, checkpointEvents };
}
