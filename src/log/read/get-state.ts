// GetState: a stream's state as JSON, computed from its events by merge patch. For inspection by
// people: bounded, and it reports the events that it skipped.

import { AnnalsError } from "../../domain/errors.ts";
import { jsonTextInSteps, parseExactInSteps, type WrittenJson } from "../../domain/exact-json.ts";
import {
  isJsonContentType,
  jsonCost,
  jsonDepthMax,
  jsonShape,
  jsonValuesMax,
  type Json,
} from "../../domain/json.ts";
import { mergePatch } from "../../domain/merge-patch.ts";
import { Effort, stepBytes, type Steps } from "../../domain/steps.ts";
import { decodeRecord, scanPlacement, scanRecordedAt } from "../../domain/record.ts";
import { cancellation } from "../cancellation.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { scheduledRead } from "../scheduling/scheduled-read.ts";
import { inSteps, passGate, type Caller } from "../scheduling/scheduler.ts";
import { boundsOf, type ReadSource } from "./read.ts";
import { missingThrough, recordsOf, versionAt, viewOf } from "./records.ts";
import type { StreamState, GetStateRequest } from "../verbs.ts";

export async function getState(
  source: ReadSource,
  { stream, at }: GetStateRequest,
  stateBytesMax: number,
  signal?: AbortSignal,
): Promise<StreamState> {
  const view = await viewOf(source, stream);
  const { head } = view;
  const bounds = await boundsOf(source.storage, { direction: "forwards", to: at }, head);
  const state = new FoldedState(stateBytesMax);
  let first: Uint8Array | undefined;
  let last: Uint8Array | undefined;
  const { positions, versions } = bounds;
  const read = {
    selection: { kind: "stream", stream },
    direction: "forwards",
    positions,
    asOf: head,
    batchBytes: source.batchBytes,
    ...(versions !== undefined && { versions }),
  } as const;
  const caller = callerOf(source, signal);
  for await (const batch of scheduledRead(source, read, signal)) {
    for (const record of recordsOf(batch)) {
      const folding = inSteps(caller, state.fold(record));
      if (folding instanceof Promise) await folding;
      first ??= record;
      last = record;
    }
  }
  // What was read last was folded in this turn; the answer is made in others.
  await passGate(source.gate, schedulingPolicy.turnBytes, signal);
  if (caller.aborted) throw caller.reason;
  const folded = await inSteps(caller, state.result());
  if (first === undefined || last === undefined) {
    // If no event is left, removed records tell what there was up to then.
    const ever = await versionAt(source, stream, positions.last);
    const until = Math.min(ever, versions?.last ?? ever);
    const missing = missingThrough(view, until, until + 1);
    return { ...folded, version: 0, position: 0, recordedAt: 0, missingThrough: missing };
  }
  const { version, position } = scanPlacement(last);
  const missing = missingThrough(view, version, scanPlacement(first).version);
  const recordedAt = scanRecordedAt(last);
  return { ...folded, version, position, recordedAt, missingThrough: missing };
}

function callerOf({ gate }: ReadSource, signal: AbortSignal | undefined): Caller {
  return {
    gate,
    get aborted() {
      return signal?.aborted === true;
    },
    get reason() {
      return signal && cancellation(signal);
    },
  };
}

/** A state that grows with each event, but never far beyond what an answer may hold. */
class FoldedState {
  private readonly bytesMax: number;
  private value: Json = null;
  private appliedCount = 0;
  private skippedCount = 0;
  /** An upper bound of the state's bytes: the last measurement plus the patches since. */
  private bytesGuess = 0;
  /** The same of its values. */
  private valuesGuess = 0;
  private readonly effort = new Effort();
  /** Of the last patch. */
  private foldedCost = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  *fold(record: Uint8Array): Steps<void> {
    const { contentType, data } = decodeRecord(record);
    const patch = isJsonContentType(contentType) ? yield* this.patchIn(data) : undefined;
    if (patch === undefined) {
      this.skippedCount++;
      return;
    }
    this.value = mergePatch(this.value, patch);
    this.appliedCount++;
    // Measured once for every `bytesMax` bytes of patches, so that the cost of a state is that of
    // its events.
    const { bytesGuess, valuesGuess, bytesMax } = this;
    if (bytesGuess > 2 * bytesMax || valuesGuess > 2 * jsonValuesMax) {
      yield* this.measure();
    }
    if (this.effort.spend(this.foldedCost)) yield this.effort.take();
  }

  /** Throws ANSWER_TOO_LARGE. */
  *result(): Steps<Pick<StreamState, "state" | "stateJson" | "appliedCount" | "skippedCount">> {
    const { text: stateJson } = yield* this.measure();
    const { value: state, appliedCount, skippedCount } = this;
    return { state, stateJson, appliedCount, skippedCount };
  }

  /** Judged before it is parsed. Undefined: it is no JSON. */
  private *patchIn(data: Uint8Array): Steps<Json | undefined> {
    if (data.length > this.bytesMax) throw tooLarge("an event", data.length, this.bytesMax);
    const shape = jsonShape(data);
    const { depth, values, isPaired } = shape;
    if (!isPaired) return undefined;
    if (depth > jsonDepthMax) {
      throw tooLarge(`JSON nested deeper than ${jsonDepthMax}`, data.length, this.bytesMax);
    }
    if (values > jsonValuesMax) {
      throw tooLarge(`JSON of more than ${jsonValuesMax} values`, data.length, this.bytesMax);
    }
    this.bytesGuess += data.length;
    this.valuesGuess += values;
    this.foldedCost = jsonCost(data, shape);
    if (this.foldedCost >= stepBytes) yield this.foldedCost;
    return yield* parseExactInSteps(data, shape);
  }

  /** Throws ANSWER_TOO_LARGE. */
  private *measure(): Steps<WrittenJson> {
    const measured = yield* jsonTextInSteps(this.value);
    const { bytesMax } = this;
    const bytes = Buffer.byteLength(measured.text);
    this.bytesGuess = bytes;
    this.valuesGuess = measured.values;
    if (bytes > bytesMax) throw tooLarge("the state", bytes, bytesMax);
    if (measured.values > jsonValuesMax) {
      throw tooLarge(`a state of more than ${jsonValuesMax} values`, bytes, bytesMax);
    }
    return measured;
  }
}

function tooLarge(what: string, bytes: number, bytesMax: number): AnnalsError {
  const failure = { reason: "ANSWER_TOO_LARGE", bytes, bytesMax } as const;
  return new AnnalsError(failure, `${what} does not fit an answer of ${bytesMax} bytes`);
}
