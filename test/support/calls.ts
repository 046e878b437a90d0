// A client for tests, made from the same descriptors as the server. Tests of meaning use typed
// messages, tests of encoding use bytes. Failures come with their `google.rpc.Status` decoded.
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import {
  Client,
  credentials as grpcCredentials,
  Metadata,
  type CallOptions,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  AppendConflictSchema,
  CorruptionDetailSchema,
  EventIdConflictSchema,
} from "../../src/gen/annals/v1/errors_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.js";

const detailSchemas = {
  badRequest: BadRequestSchema,
  retryInfo: RetryInfoSchema,
  appendConflict: AppendConflictSchema,
  eventIdConflict: EventIdConflictSchema,
  corruption: CorruptionDetailSchema,
} as const;

type Details = { [K in keyof typeof detailSchemas]?: MessageShape<(typeof detailSchemas)[K]> };

/** A failed call as a client sees it. */
export interface Failed extends Details {
  code: number;
  message: string;
  /** The reason of the ErrorInfo, which must be the first detail. Empty: there are no details. */
  reason: string;
  domain: string;
  info: Record<string, string>;
  details: Any[];
}

export function decodeDetails(code: number, message: string, details: Any[]): Failed {
  const first = details[0] && anyUnpack(details[0], ErrorInfoSchema);
  const typed: Record<string, unknown> = {};
  for (const detail of details.slice(1)) {
    for (const [name, schema] of Object.entries(detailSchemas)) {
      const unpacked = anyUnpack(detail, schema);
      if (unpacked !== undefined) typed[name] = unpacked;
    }
  }
  const { reason = "", domain = "", metadata: info = {} } = first ?? {};
  return { code, message, reason, domain, info, details, ...typed };
}

export function failureOf(error: unknown): Failed {
  const { code, details: text, metadata } = error as ServiceError;
  const [bytes] = metadata?.get("grpc-status-details-bin") ?? [];
  if (!(bytes instanceof Buffer)) return decodeDetails(code, text, []);
  const status = fromBinary(StatusSchema, bytes);
  const codes: number[] = [status.code, code];
  if (codes[0] !== codes[1]) throw new Error(`details say ${status.code}, the call ${code}`);
  return decodeDetails(code, text, status.details);
}

type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { input: I; output: O };

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

const same = (bytes: Buffer): Buffer => bytes;

export function encode<I extends DescMessage>(schema: I, init: MessageInitShape<I>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, init)));
}

export interface Stream<O> extends AsyncIterable<O> {
  cancel(): void;
  readonly call: ClientReadableStream<Buffer>;
}

export interface Pipe<I, O> {
  send(message: I): void;
  sendBytes(bytes: Buffer): void;
  end(): void;
  cancel(): void;
  readonly answers: AsyncIterator<O>;
  readonly call: ClientDuplexStream<Buffer, Buffer>;
}

export class Calls {
  private readonly client: Client;

  constructor(target: string, credentials?: ChannelCredentials, options = {}) {
    const chosen = credentials ?? grpcCredentials.createInsecure();
    const local = { "grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0, ...options };
    this.client = new Client(target, chosen, local);
  }

  close(): void {
    this.client.close();
  }

  /** Returns the answer, or throws the call's `ServiceError`. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    const bytes = encode(method.input, request);
    return fromBinary(method.output, await this.bytes(pathOf(method), bytes, options));
  }

  /** Returns the failure of the call. Throws if it succeeded. */
  async failure<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<Failed> {
    return failedOf(
      method.methodKind === "unary"
        ? this.unary(method, request, options)
        : collect(this.stream(method, request, options)),
    );
  }

  bytes(path: string, request: Buffer, options: CallOptions = {}): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const answered = (error: ServiceError | null, answer?: Buffer): void => {
        if (error === null) resolve(answer ?? Buffer.alloc(0));
        else reject(error);
      };
      this.client.makeUnaryRequest(path, same, same, request, new Metadata(), options, answered);
    });
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions = {},
  ): Stream<MessageShape<O>> {
    const bytes = encode(method.input, request);
    const path = pathOf(method);
    const call = this.client.makeServerStreamRequest(path, same, same, bytes, options);
    return {
      call,
      cancel: () => call.cancel(),
      [Symbol.asyncIterator]: () => decodeEach(call, method.output),
    };
  }

  pipe<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    options: CallOptions = {},
    headers = new Metadata(),
  ): Pipe<MessageInitShape<I>, MessageShape<O>> {
    const path = pathOf(method);
    const call = this.client.makeBidiStreamRequest(path, same, same, headers, options);
    return {
      call,
      send: (message) => void call.write(encode(method.input, message)),
      sendBytes: (bytes) => void call.write(bytes),
      end: () => void call.end(),
      cancel: () => call.cancel(),
      answers: decodeEach(call, method.output),
    };
  }
}

async function* decodeEach<O extends DescMessage>(
  call: AsyncIterable<Buffer> & { on(event: "error", listener: () => void): unknown },
  schema: O,
): AsyncGenerator<MessageShape<O>> {
  call.on("error", () => {});
  for await (const bytes of call) yield fromBinary(schema, bytes);
}

export async function failedOf(promise: Promise<unknown>): Promise<Failed> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) throw new Error("the call did not fail");
  return failureOf(error);
}

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

/** The next value of an iterator. Throws if there is none. */
export async function nextOf<T>(iterator: AsyncIterator<T>): Promise<T> {
  const next = await iterator.next();
  if (next.done === true) throw new Error("there is no next");
  return next.value;
}

/** A promise and the function that resolves it. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
