// What a copy keeps about itself: a side value that is written with everything that it receives.

import { corruption } from "../../../domain/errors.ts";
import { prefixSideValue, sideValueSpaceNumbers, unseal } from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";

export interface CopyState {
  /** Of the sender. Empty: the side values are older than the log. */
  readonly cursor: string;
  /** The copy is whole from this position on. */
  readonly wholeFrom: number;
}

export const copyStateName = "state";

/** Throws CORRUPTION. */
export async function copyStateIn(kv: ReadableKv): Promise<CopyState> {
  const space = sideValueSpaceNumbers.copy;
  const range = {
    first: Buffer.from([prefixSideValue, space]),
    last: Buffer.from([prefixSideValue, space + 1]),
  };
  // The newest revision comes first.
  const [entry] = await kv.page({ ...range, limit: 1 });
  if (entry === undefined) return { cursor: "", wholeFrom: 0 };
  const value = unseal(entry[0], entry[1]);
  if (value === undefined) throw corruption("the state of the copy fails its CRC");
  return JSON.parse(Buffer.from(value).toString()) as CopyState;
}
