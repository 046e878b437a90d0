// Traces of calls, commits and reads, by OpenTelemetry's API. An operator brings the SDK, with
// `node --import`; without one, nothing of this is loaded and nothing is done for it. Names and
// attributes follow OpenTelemetry's conventions for gRPC.

import type * as OpenTelemetry from "@opentelemetry/api";
import type { Context, Span, TextMapGetter, Tracer } from "@opentelemetry/api";
import type { CallEnd, CallObserver, ObservedCall } from "../grpc/transport/call-observer.ts";
import { StatusCode, statusName } from "../grpc/transport/status.ts";
import type { CommitEnd, CommitObserver } from "../log/log-observer.ts";
import type { EventLog, LoadMessage, ReadMessage } from "../log/verbs.ts";

type Api = typeof OpenTelemetry;
type Headers = ObservedCall["headers"];

/** Where the API keeps what an SDK has registered, for every copy of the API in the process. */
const registrations = Symbol.for("opentelemetry.js.api.1");

/** Undefined: no SDK is registered. */
export async function beginTracing(version: string): Promise<Tracing | undefined> {
  const global = globalThis as { [registrations]?: { readonly trace?: unknown } };
  if (global[registrations]?.trace === undefined) return undefined;
  return new Tracing(await import("@opentelemetry/api"), version);
}

/** Faults of the server. What clients do wrong is no error of the server's span. */
const serverErrors: ReadonlySet<StatusCode> = new Set([
  StatusCode.UNKNOWN,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.UNIMPLEMENTED,
  StatusCode.INTERNAL,
  StatusCode.UNAVAILABLE,
  StatusCode.DATA_LOSS,
]);

const headerGetter: TextMapGetter<Headers> = {
  keys: (headers) => [...headers.keys()],
  get: (headers, key) => headers.get(key),
};

export class Tracing implements CallObserver, CommitObserver {
  private readonly api: Api;
  private readonly tracer: Tracer;
  /** Of calls that are open. */
  private readonly contexts = new WeakMap<object, Context>();

  constructor(api: Api, version: string) {
    this.api = api;
    this.tracer = api.trace.getTracer("annals", version);
  }

  begun(call: ObservedCall): void {
    const { propagation, trace, SpanKind, ROOT_CONTEXT } = this.api;
    const parent = propagation.extract(ROOT_CONTEXT, call.headers, headerGetter);
    const name = call.path.slice(1);
    const attributes = {
      "rpc.system.name": "grpc",
      "rpc.method": name,
      ...addressOf(call.peer),
    };
    const span = this.tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
    this.contexts.set(call, trace.setSpan(parent, span));
  }

  around<T>(call: ObservedCall, work: () => T): T {
    const context = this.contexts.get(call);
    return context === undefined ? work() : this.api.context.with(context, work);
  }

  ended(call: ObservedCall, { code }: CallEnd): void {
    const span = this.spanOf(call);
    if (span === undefined) return;
    this.contexts.delete(call);
    const status = statusName(code);
    span.setAttribute("rpc.status_code", status);
    if (serverErrors.has(code)) {
      span.setAttribute("error.type", status);
      span.setStatus({ code: this.api.SpanStatusCode.ERROR });
    }
    span.end();
  }

  /** One commit is of many calls: each that is traced gets a span of its own for it. */
  committing(callers: Iterable<object | undefined>): ((end: CommitEnd) => void) | undefined {
    const spans: Span[] = [];
    for (const caller of callers) {
      const context = caller && this.contexts.get(caller);
      if (context === undefined) continue;
      if (this.api.trace.getSpan(context)?.isRecording() !== true) continue;
      spans.push(this.tracer.startSpan("annals.commit", {}, context));
    }
    if (spans.length === 0) return undefined;
    return ({ events, error }) => {
      for (const span of spans) {
        span.setAttribute("annals.commit.events", events);
        if (error !== undefined) this.failed(span, error);
        span.end();
      }
    };
  }

  /** The log with a span for each read that a traced call makes. */
  log(log: EventLog): EventLog {
    return {
      ...log,
      read: (request, signal, gate) => this.reading("annals.read", log.read(request, signal, gate)),
      load: (request, signal, gate) => this.reading("annals.load", log.load(request, signal, gate)),
    };
  }

  private async *reading<M extends ReadMessage | LoadMessage>(
    name: string,
    messages: AsyncIterable<M>,
  ): AsyncGenerator<M> {
    if (this.api.trace.getActiveSpan()?.isRecording() !== true) return yield* messages;
    const span = this.tracer.startSpan(name);
    let events = 0;
    let bytes = 0;
    try {
      for await (const message of messages) {
        if (message.kind === "batch") {
          events += message.batch.count;
          bytes += message.batch.bytes;
        }
        yield message;
      }
    } catch (error) {
      this.failed(span, error);
      throw error;
    } finally {
      span.setAttributes({ "annals.read.events": events, "annals.read.bytes": bytes });
      span.end();
    }
  }

  private failed(span: Span, error: unknown): void {
    span.setAttribute("error.type", error instanceof Error ? error.name : "_OTHER");
    span.setStatus({ code: this.api.SpanStatusCode.ERROR });
  }

  private spanOf(call: object): Span | undefined {
    const context = this.contexts.get(call);
    return context && this.api.trace.getSpan(context);
  }
}

/** `127.0.0.1:50123` or `[::1]:50123`; a Unix socket has no address. */
function addressOf(peer: string): Record<string, string | number> {
  const [, address, port] = /^\[?([^\]]*)\]?:(\d+)$/.exec(peer) ?? [];
  if (address === undefined) return {};
  return { "network.peer.address": address, "network.peer.port": Number(port) };
}
