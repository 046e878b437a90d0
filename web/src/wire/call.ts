// Calls of the server that this page comes from, by the Connect protocol with JSON: one POST for
// each call, and for a stream of answers one envelope for each message (a byte of flags, the length
// in four bytes, the message).

import { CallFailure, failureOf, isAborted, type ErrorDetail } from "./call-failure.ts";
import { tokenHeader } from "./token.ts";

const endFlag = 2;
const headBytes = 5;
/** No message of Annals is longer; a longer one means that this is no Connect. */
const messageBytesMax = 64 * 1024 * 1024;

interface WireError {
  readonly code?: string;
  readonly message?: string;
  readonly details?: readonly ErrorDetail[];
}

/** `method`: `EventStoreService/GetInfo`. */
export async function unary<Answer>(
  method: string,
  request: object,
  signal?: AbortSignal,
): Promise<Answer> {
  const response = await post(method, "application/json", JSON.stringify(request), signal);
  if (!response.ok) throw await failureOfResponse(response);
  return (await response.json()) as Answer;
}

/** The messages of a stream, each as soon as it is here. Ends with the stream, or throws. */
export async function* stream<Message>(
  method: string,
  request: object,
  signal: AbortSignal,
): AsyncGenerator<Message> {
  const body = envelope(new TextEncoder().encode(JSON.stringify(request)));
  const response = await post(method, "application/connect+json", body, signal);
  if (!response.ok || response.body === null) throw await failureOfResponse(response);
  try {
    for await (const { flags, message } of envelopes(response.body)) {
      if ((flags & endFlag) === 0) yield message as Message;
      else if ("error" in message) throw wireFailure(message.error as WireError, 200);
      else return;
    }
  } catch (error) {
    if (isAborted(error)) throw error;
    throw failureOf(error);
  }
  throw new CallFailure("unreachable", "the server ended the connection");
}

async function post(
  method: string,
  type: string,
  body: BodyInit,
  signal?: AbortSignal,
): Promise<Response> {
  const headers = { "content-type": type, "connect-protocol-version": "1", ...tokenHeader() };
  const init = { method: "POST", headers, body, ...(signal && { signal }) };
  try {
    return await fetch(`/annals.v1.${method}`, init);
  } catch (error) {
    if (isAborted(error)) throw error;
    throw failureOf(error);
  }
}

async function failureOfResponse(response: Response): Promise<CallFailure> {
  const text = await response.text().catch(() => "");
  try {
    return wireFailure(JSON.parse(text) as WireError, response.status);
  } catch {
    return wireFailure({ message: text.trim().slice(0, 500) }, response.status);
  }
}

/** As Connect has it for answers that are not of its own making. */
const codesByStatus: Readonly<Record<number, string>> = {
  401: "unauthenticated",
  403: "permission_denied",
  404: "unimplemented",
  429: "unavailable",
  502: "unavailable",
  503: "unavailable",
  504: "unavailable",
};

function wireFailure({ code, message = "", details }: WireError, status: number): CallFailure {
  const known = code ?? codesByStatus[status] ?? "unknown";
  return new CallFailure(known, message === "" ? `HTTP status ${status}` : message, details);
}

function envelope(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(headBytes + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, headBytes);
  return bytes;
}

interface Received {
  readonly flags: number;
  readonly message: object;
}

async function* envelopes(body: ReadableStream<Uint8Array>): AsyncGenerator<Received> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const held = new Held();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held.add(value);
      for (let next = held.take(); next !== undefined; next = held.take()) {
        yield { flags: next.flags, message: JSON.parse(decoder.decode(next.bytes)) as object };
      }
    }
  } finally {
    // Who stops reading ends the call.
    await reader.cancel().catch(() => {});
  }
}

/** Bytes that have come and are no whole envelope yet. A part is copied once. */
class Held {
  private parts: Uint8Array[] = [];
  private bytes = 0;

  add(part: Uint8Array): void {
    this.parts.push(part);
    this.bytes += part.length;
  }

  take(): { flags: number; bytes: Uint8Array } | undefined {
    if (this.bytes < headBytes) return undefined;
    if ((this.parts[0]?.length ?? 0) < headBytes) this.join();
    const [first = new Uint8Array()] = this.parts;
    const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
    const length = view.getUint32(1);
    if (length > messageBytesMax) throw new CallFailure("internal", "a message is too long");
    const end = headBytes + length;
    if (this.bytes < end) return undefined;
    const whole = first.length >= end ? first : this.join();
    this.parts = whole.length === end ? this.parts.slice(1) : [whole.subarray(end), ...this.rest()];
    this.bytes -= end;
    return { flags: whole[0] ?? 0, bytes: whole.subarray(headBytes, end) };
  }

  private rest(): Uint8Array[] {
    return this.parts.slice(1);
  }

  private join(): Uint8Array {
    const all = new Uint8Array(this.bytes);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    this.parts = [all];
    return all;
  }
}
