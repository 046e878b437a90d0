// A protocol for the load generator: where calls go, and the bytes of the next request.

import type { CallSpec } from "./job.ts";

export interface Call {
  readonly path: string;
  /** Events appended by one request. */
  readonly eventCount: number;
  /** The next request of a worker, with its gRPC prefix. Valid until the next one is requested. */
  request(worker: number): Buffer;
  /** Receives the message of an answer. Absent: it is not needed. */
  readonly answered?: (worker: number, message: Buffer) => void;
}

export interface Calls {
  /** Undefined if the protocol has no such call. `head` is the store's head, for conditions. */
  call(spec: CallSpec, head: number): Call | undefined;
  /** The call that returns the head. */
  readonly head: { readonly path: string; readonly field: number };
  /** The same requests in a bidirectional call. */
  pipe(spec: CallSpec): Call | undefined;
  /** The reason if an answer of a pipe is a refusal, otherwise undefined. */
  refusal(answer: Buffer): string | undefined;
  /** See EventCounter. */
  readonly eventsInBatch: boolean;
  /** The field of a subscription's message that says that it has caught up. 0: there is none. */
  readonly caughtUpField: number;
  /** The payload of a received event. */
  payloadOf(event: Buffer): Uint8Array | undefined;
}
