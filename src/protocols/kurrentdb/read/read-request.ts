// A `ReadReq`, checked: what is read, from where, and in which form.

import type { StreamIdentifier } from "../../../gen/event_store/client/shared_pb.js";
import {
  ReadReq_Options_ReadDirection,
  type ReadReq,
  type ReadReq_Options,
} from "../../../gen/event_store/client/streams/streams_pb.js";
import type { LogContext } from "../mapping/context.ts";
import { invalidArgument } from "../mapping/errors.ts";
import { filterOf, type EventFilter } from "./filter.ts";
import { nameOf, streamTargetOf, type StreamTarget } from "../mapping/names.ts";

/** A revision or a position, as the wire has it. */
export type Start =
  | { readonly kind: "start" }
  | { readonly kind: "end" }
  | { readonly kind: "at"; readonly at: bigint };

interface ReadForm {
  readonly from: Start;
  readonly isForwards: boolean;
  /** Undefined: a subscription. */
  readonly count: bigint | undefined;
  readonly resolvesLinks: boolean;
  readonly structuredIds: boolean;
  /** The read ends with the stream's last revision. */
  readonly endsWithRevision: boolean;
}

export interface StreamRead extends ReadForm {
  readonly kind: "stream";
  /** As the client wrote it. */
  readonly name: string;
  readonly target: StreamTarget;
}

export interface AllRead extends ReadForm {
  readonly kind: "all";
  readonly filter: EventFilter | undefined;
}

export type EventRead = StreamRead | AllRead;

/** The greatest number stands for the end. */
const endNumber = 2n ** 63n - 1n;

/** Throws INVALID_ARGUMENT. */
export function eventReadOf(
  { limits }: Pick<LogContext, "limits">,
  { options }: ReadReq,
): EventRead {
  if (options === undefined) throw invalidArgument("the options are missing");
  const { streamOption, filterOption } = options;
  const form = formOf(options);
  switch (streamOption.case) {
    case "stream": {
      const { streamIdentifier, revisionOption } = streamOption.value;
      const named = nameIn(streamIdentifier, limits);
      const from = startOf(revisionOption, "revision");
      if (filterOption.case === "filter")
        throw invalidArgument("a stream is read without a filter");
      return { ...form, ...named, kind: "stream", from };
    }
    case "all": {
      const { allOption } = streamOption.value;
      const from =
        allOption.case === "position" ? at(allOption.value.commitPosition) : startOf(allOption, "");
      const filter = filterOption.case === "filter" ? filterOf(filterOption.value) : undefined;
      return { ...form, kind: "all", from, filter };
    }
    case undefined:
      throw invalidArgument("neither a stream nor all streams are asked for");
  }
}

function nameIn(identifier: StreamIdentifier | undefined, limits: LogContext["limits"]) {
  const name = nameOf(identifier, limits);
  return { name, target: streamTargetOf(name) };
}

function formOf(options: ReadReq_Options): Omit<ReadForm, "from"> {
  const { countOption, readDirection, resolveLinks, uuidOption, controlOption } = options;
  if (uuidOption?.content.case === undefined) throw invalidArgument("the UUID option is missing");
  if (countOption.case === undefined) throw invalidArgument("the count is missing");
  const isForwards = readDirection === ReadReq_Options_ReadDirection.Forwards;
  if (countOption.case === "subscription" && !isForwards) {
    throw invalidArgument("a subscription runs forwards");
  }
  return {
    isForwards,
    count: countOption.case === "count" ? countOption.value : undefined,
    resolvesLinks: resolveLinks,
    structuredIds: uuidOption.content.case === "structured",
    endsWithRevision: (controlOption?.compatibility ?? 0) >= 1,
  };
}

interface WireStart {
  readonly case?: string | undefined;
  readonly value?: unknown;
}

function startOf(option: WireStart, number: string): Start {
  if (option.case === "start") return { kind: "start" };
  if (option.case === "end") return { kind: "end" };
  if (option.case === number && typeof option.value === "bigint") return at(option.value);
  throw invalidArgument("the start is missing");
}

export function at(number: bigint): Start {
  return number >= endNumber ? { kind: "end" } : { kind: "at", at: number };
}

/** A number of the wire as one that is exact: nothing in the log is beyond it. */
export function safe(number: bigint): number {
  const max = BigInt(Number.MAX_SAFE_INTEGER - 1);
  return Number(number > max ? max : number);
}
