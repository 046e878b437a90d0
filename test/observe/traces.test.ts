// Traces with a real OpenTelemetry SDK in a real server process, which its operator brings by
// `--import`, and from a client's span to the span that processes the event.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connect, traceLink } from "../../src/client/sdk.ts";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { loaded } from "../server/loaded-modules.ts";
import { Calls, collect } from "../support/calls.ts";
import { startTestServer } from "../support/running-server.ts";

interface Span {
  readonly name: string;
  readonly kind: SpanKind;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly status: SpanStatusCode;
}

const provider = new NodeTracerProvider({
  spanProcessors: [new SimpleSpanProcessor(new InMemorySpanExporter())],
});
const tracer = provider.getTracer("test");
beforeAll(() => {
  provider.register();
});
afterAll(() => {
  trace.disable();
  context.disable();
  propagation.disable();
});

let folder: string;
let child: ChildProcess | undefined;
afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

async function startTraced(): Promise<{ address: string; spans: () => Promise<Span[]> }> {
  folder = mkdtempSync(join(tmpdir(), "annals-traces-"));
  const file = join(folder, "spans.json");
  const flags = ["--import", "./test/observe/otel-sdk.ts", "src/main.ts", "serve", "--memory"];
  const server = spawn(process.execPath, [...flags, "--port", "0", "--record-trace-context"], {
    env: { ...process.env, SPANS_FILE: file },
    stdio: ["ignore", "pipe", "inherit"],
  });
  child = server;
  let said = "";
  for await (const bytes of server.stdout) {
    said += String(bytes);
    if (said.includes("\n")) break;
  }
  const [, address = ""] = /serves on (\S+),/.exec(said) ?? [];
  return {
    address,
    spans: async () => {
      server.kill("SIGTERM");
      await once(server, "exit");
      return JSON.parse(readFileSync(file, "utf8")) as Span[];
    },
  };
}

const inject = (carrier: Record<string, string>): void =>
  propagation.inject(context.active(), carrier);

describe("a trace", () => {
  test("goes from a client through call, commit and read to the one who processes the event", async () => {
    const { address, spans } = await startTraced();
    const client = connect({ address, injectTraceContext: inject });
    const placing = tracer.startSpan("place order");
    await context.with(trace.setSpan(context.active(), placing), async () => {
      await client.append([{ type: "Placed", data: {}, stream: "order-1" }]);
    });
    placing.end();
    const [event] = await collect(client.read({ stream: "order-1" }));
    client.close();
    const link = traceLink(event ?? { traceParent: "" });
    const { traceId, spanId, traceFlags } = placing.spanContext();
    expect(link).toEqual({ context: { traceId, spanId, traceFlags, isRemote: true } });
    expect(tracer.startSpan("process", { links: link ? [link] : [] }).isRecording()).toBe(true);

    const all = await spans();
    const method = "annals.v1.EventStoreService/Append";
    const call = all.find(({ name }) => name === method);
    expect(call).toMatchObject({
      traceId,
      parentSpanId: spanId,
      kind: SpanKind.SERVER,
      status: SpanStatusCode.UNSET,
      attributes: {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.status_code": "OK",
        "network.peer.address": "127.0.0.1",
      },
    });
    expect(all.find(({ name }) => name === "annals.commit")).toMatchObject({
      traceId,
      parentSpanId: call?.spanId,
      attributes: { "annals.commit.events": 1 },
    });
    const reading = all.find(({ name }) => name === "annals.v1.EventStoreService/Read");
    expect(all.find(({ name }) => name === "annals.read")).toMatchObject({
      traceId: reading?.traceId,
      parentSpanId: reading?.spanId,
      attributes: { "annals.read.events": 1 },
    });
  });

  test("has what clients do wrong as their errors, and not as the server's", async () => {
    const { address, spans } = await startTraced();
    const calls = new Calls(address);
    await calls.failure(EventStoreService.method.getStream, { stream: "none" });
    calls.close();
    const [missing] = await spans();
    expect(missing).toMatchObject({
      status: SpanStatusCode.UNSET,
      attributes: { "rpc.status_code": "NOT_FOUND" },
    });
  });
});

describe("without an SDK", () => {
  test("the server loads no part of OpenTelemetry, and records no trace it was not told to", async () => {
    folder = mkdtempSync(join(tmpdir(), "annals-traces-"));
    const files = await loaded(["serve", "--data", "/dev/null/none", "--port", "0"]);
    expect(files.length).toBeGreaterThan(50);
    expect(files.filter((path) => /opentelemetry|prom-client/.test(path))).toEqual([]);
  });

  test("the header is recorded where it is one, and a retry with another one is the same", async () => {
    const server = await startTestServer(["--record-trace-context"]);
    const parents = [
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-11111111111111111111111111111111-2222222222222222-00",
      "nonsense",
      `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-${"x".repeat(200)}`,
    ];
    const ids = parents.map(() => crypto.randomUUID());
    let header = "";
    const client = connect({
      address: server.address,
      injectTraceContext: (carrier) => void (carrier["traceparent"] = header),
    });
    for (const [i, id] of ids.entries()) {
      header = parents[i] ?? "";
      await client.append([{ type: "T", data: {}, stream: "s", id }]);
      header = parents[1 - i] ?? "";
      const again = await client.append([{ type: "T", data: {}, stream: "s", id }]);
      expect(again.deduplicated).toBe(true);
    }
    const events = await collect(client.read({ stream: "s" }));
    expect(events.map(({ traceParent }) => traceParent)).toEqual([parents[0], parents[1], "", ""]);
    expect(traceLink({ traceParent: "" })).toBeUndefined();
    client.close();
    await server.stop();
  });
});
