// An OpenTelemetry SDK for `node --import`: it keeps spans in memory and writes them at the end of the
// process to the file that SPANS_FILE names.
import { writeFileSync } from "node:fs";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";

const exporter = new InMemorySpanExporter();
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();

process.on("exit", () => {
  const spans = exporter.getFinishedSpans().map((span) => ({
    name: span.name,
    kind: span.kind,
    traceId: span.spanContext().traceId,
    spanId: span.spanContext().spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    attributes: span.attributes,
    status: span.status.code,
  }));
  writeFileSync(process.env["SPANS_FILE"] ?? "/dev/null", JSON.stringify(spans));
});
