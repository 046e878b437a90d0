// A protocol, as the load generator sees it: where calls go, and the bytes of the next request.

import type { CallSpec } from "./job.ts";

export interface Call {
  readonly path: string;
  /** Events that one request appends. */
  readonly eventCount: number;
  /** The next request of a worker, gRPC prefix included; good until the next one is asked for. */
  request(worker: number): Buffer;
  /** Looks at an answer's message. Absent: nobody needs to. */
  readonly answered?: (worker: number, message: Buffer) => void;
}

export interface Calls {
  /** Undefined where the protocol has no such call. `head`: the store's, for conditions. */
  call(spec: CallSpec, head: number): Call | undefined;
  /** Asks for the head. */
  readonly head: { readonly path: string; readonly field: number };
  /** The same requests in a bidirectional call. */
  pipe(spec: CallSpec): Call | undefined;
  /** Why an answer of a pipe is a refusal; undefined where it is none. */
  refusal(answer: Buffer): string | undefined;
  /** See EventCounter. */
  readonly eventsInBatch: boolean;
  /** The field of a subscription's message that says that it has caught up; 0 where none does. */
  readonly caughtUpField: number;
  /** The payload of a received event. */
  payloadOf(event: Buffer): Uint8Array | undefined;
}
