// Streaming calls as async iterables. Who iterates sets the pace: nothing is asked of the server
// that was not pulled, beyond the flow-control window and a few messages of read-ahead.

import type { Writable } from "node:stream";
import type { ClientDuplexStream, ClientReadableStream } from "@grpc/grpc-js";
import { callError } from "./call-error.ts";

/**
 * The messages of a call; leaving the loop, or the signal, cancels it. Fails with a `CallError`.
 */
export async function* receive<Response>(
  open: () => ClientReadableStream<Response>,
  signal?: AbortSignal,
): AsyncGenerator<Response, void, undefined> {
  signal?.throwIfAborted();
  const call = open();
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  // The status of a call we cancelled ourselves arrives after the loop: it must find a listener.
  call.on("error", () => {});
  try {
    for await (const message of call) {
      signal?.throwIfAborted();
      yield message as Response;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw callError(error);
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

/**
 * Sends requests and yields the answers, each at its own pace. A failure of `requests` cancels the
 * call and is thrown; when the answers end, `requests` is returned.
 */
export async function* exchange<Request, Response>(
  open: () => ClientDuplexStream<Request, Response>,
  requests: AsyncIterable<Request>,
  signal?: AbortSignal,
): AsyncGenerator<Response, void, undefined> {
  let failed: { readonly error: unknown } | undefined;
  const source = requests[Symbol.asyncIterator]();
  const answers = receive(() => {
    const call = open();
    send(source, call).catch((error: unknown) => {
      failed = { error };
      call.cancel();
    });
    return call;
  }, signal);
  try {
    yield* answers;
  } catch (error) {
    throw failed === undefined ? error : failed.error;
  } finally {
    // Not awaited: a source that waits for something else returns when it comes back from there.
    source.return?.().catch(() => {});
  }
}

async function send<Request>(
  source: AsyncIterator<Request>,
  call: ClientDuplexStream<Request, unknown>,
): Promise<void> {
  let over = false;
  call.once("status", () => {
    over = true;
  });
  for (;;) {
    const next = await source.next();
    if (over) return;
    if (next.done === true) break;
    if (!call.write(next.value)) await writableAgain(call);
  }
  call.end();
}

/** After a call has ended `drain` never comes: whichever is first. */
function writableAgain(call: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      call.off("status", done);
      resolve();
    };
    call.once("drain", done);
    call.once("status", done);
  });
}
