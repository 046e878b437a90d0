// One interface for connect-node's gRPC transport and for grpc-js with proto-loader. Messages are those
// of proto-loader: a member for each field.
import { EventEmitter, on } from "node:events";
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import {
  compressionGzip,
  createGrpcTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { credentials, loadPackageDefinition, Metadata, compressionAlgorithms } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const files = [...descriptors("annals.binpb"), ...descriptors("rpc.binpb")];
const registry = createFileRegistry({
  $typeName: "google.protobuf.FileDescriptorSet",
  file: files,
});
const service = "annals.v1.EventStoreService";

function descriptors(path) {
  return fromBinary(FileDescriptorSetSchema, readFileSync(path)).file;
}

/** What `grpc-status-details-bin` says. */
function typed(code, bytes) {
  if (bytes === undefined) return { code };
  const { details } = fromBinary(registry.getMessage("google.rpc.Status"), bytes);
  const [info, conflict] = details.map((detail) => anyUnpack(detail, registry));
  const actual = conflict?.streams?.[0]?.actualVersion;
  return { code, reason: info?.reason, ...(actual !== undefined && { actual: Number(actual) }) };
}

function withProtoLoader(address) {
  const options = { keepCase: false, longs: Number, enums: String, oneofs: true };
  const loaded = loadSync("annals/v1/event_store_service.proto", {
    ...options,
    includeDirs: ["proto"],
  });
  const { EventStoreService } = loadPackageDefinition(loaded).annals.v1;
  const make = (more) => new EventStoreService(address, credentials.createInsecure(), more);
  const client = make({});
  const gzipClient = make({ "grpc.default_compression_algorithm": compressionAlgorithms.gzip });
  const chosen = (isGzip) => (isGzip ? gzipClient : client);
  const deadline = (ms) => ({ deadline: Date.now() + ms });
  return {
    unary(method, asked, { ms, isGzip, metadata = [] }) {
      const own = new Metadata();
      for (const [name, value] of metadata) own.set(name, value);
      return new Promise((resolve, reject) => {
        const done = (error, answer) => (error instanceof Error ? reject(error) : resolve(answer));
        if (method === "Nothing") {
          const same = (bytes) => bytes;
          const path = `/${service}/Nothing`;
          return client.makeUnaryRequest(
            path,
            same,
            same,
            Buffer.alloc(0),
            own,
            deadline(ms),
            done,
          );
        }
        return chosen(isGzip)[method](asked, own, deadline(ms), done);
      });
    },
    stream(method, asked, { ms, isGzip }) {
      const call = chosen(isGzip)[method](asked, deadline(ms));
      return { answers: call[Symbol.asyncIterator](), cancel: () => call.cancel() };
    },
    pipe(method, { ms }) {
      const call = client[method](deadline(ms));
      return {
        answers: call[Symbol.asyncIterator](),
        send: (message) => call.write(message),
        end: () => call.end(),
        cancel: () => call.cancel(),
      };
    },
    failureOf: ({ code, metadata }) => typed(code, metadata?.get("grpc-status-details-bin")[0]),
    close() {
      client.close();
      gzipClient.close();
    },
  };
}

function withConnect(address) {
  const baseUrl = `http://${address}`;
  const manager = new Http2SessionManager(baseUrl);
  const make = (more) =>
    createClient(
      registry.getService(service),
      createGrpcTransport({ baseUrl, sessionManager: manager, ...more }),
    );
  const client = make({});
  const gzipClient = make({
    sendCompression: compressionGzip,
    acceptCompression: [compressionGzip],
  });
  const chosen = (isGzip) => (isGzip ? gzipClient : client);
  const local = (method) => method[0].toLowerCase() + method.slice(1);
  const stream = (isGzip, method, asked, ms) => {
    const { signal, abort } = aborting();
    const answers = chosen(isGzip)[local(method)](asked, { timeoutMs: ms, signal });
    return { answers: flat(answers[Symbol.asyncIterator]()), cancel: abort };
  };
  return {
    async unary(method, asked, { ms, isGzip, metadata = [] }) {
      const options = { timeoutMs: ms, headers: new Headers(metadata) };
      if (method !== "Nothing") return chosen(isGzip)[local(method)](fromInit(asked), options);
      const { typeName, methods } = registry.getService(service);
      const like = methods.find(({ name }) => name === "GetInfo");
      const unknown = { ...like, name: "Nothing", localName: "nothing", parent: { typeName } };
      const transport = createGrpcTransport({ baseUrl, sessionManager: manager });
      return transport.unary(unknown, undefined, ms, undefined, {});
    },
    stream: (method, asked, { ms, isGzip }) => stream(isGzip, method, fromInit(asked), ms),
    pipe(method, { ms }) {
      const queue = new EventEmitter();
      const answers = stream(false, method, sent(on(queue, "message", { close: ["end"] })), ms);
      return {
        ...answers,
        send: ({ append }) => void queue.emit("message", { append: fromInit(append) }),
        end: () => void queue.emit("end"),
      };
    },
    failureOf(error) {
      const { code, metadata } = ConnectError.from(error);
      const text = metadata.get("grpc-status-details-bin");
      return typed(code, text === null ? undefined : Buffer.from(text, "base64"));
    },
    close: () => manager.abort(),
  };
}

async function* sent(events) {
  for await (const [message] of events) yield message;
}

/** Members of oneofs, as connect-es wants them. */
function fromInit({ expectedVersion, stream, fromEnd, events, ...more }) {
  const expected =
    expectedVersion === undefined
      ? {}
      : { case: "expectedVersion", value: BigInt(expectedVersion) };
  if (events !== undefined) {
    const packed = events.map(({ data, ...rest }) => ({
      ...rest,
      payload: { case: "data", value: data },
    }));
    return { ...more, stream, expected, events: packed };
  }
  const start = fromEnd === undefined ? {} : { case: "fromEnd", value: fromEnd };
  return {
    ...more,
    stream,
    start,
    selection: stream === undefined ? {} : { case: "stream", value: stream },
  };
}

/** Answers with the members of their oneofs beside them. */
async function* flat(answers) {
  for await (const answer of { [Symbol.asyncIterator]: () => answers }) {
    const { message, outcome } = answer;
    const { case: name, value } = message ?? outcome;
    yield { ...answer, [name]: value };
  }
}

function aborting() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

export const libraries = { "connect-node": withConnect, "proto-loader": withProtoLoader };
