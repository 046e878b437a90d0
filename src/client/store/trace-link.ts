// From a recorded event to the trace that appended it, as a link of OpenTelemetry. The form is that
// of its API, which the SDK does not need for it.

/** As a `Link` of `@opentelemetry/api`. */
export interface TraceLink {
  readonly context: {
    readonly traceId: string;
    readonly spanId: string;
    readonly traceFlags: number;
    readonly isRemote: true;
  };
}

/**
 * The link for a span that processes the event. Undefined: no trace was recorded with it. Use:
 * `tracer.startSpan("process", { links: [traceLink(event) ?? []].flat() })`.
 */
export function traceLink(event: { readonly traceParent: string }): TraceLink | undefined {
  const match = /^[\da-f]{2}-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})/.exec(event.traceParent);
  const [, traceId, spanId, flags] = match ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  return { context: { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true } };
}
