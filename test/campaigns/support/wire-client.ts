// A connection to a server under test: calls with encoded messages over the light HTTP/2 client of
// the benchmark. A lost connection ends every call with UNAVAILABLE, so its outcome is unknown.
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import type { Headers } from "../../../bench/load/hpack.ts";
import { Http2Connection } from "../../../bench/load/http2-connection.ts";
import { framed, MessageReader } from "../../../bench/load/messages.ts";
import { AppendConflictSchema, type AppendConflict } from "../../../src/gen/annals/v1/errors_pb.js";
import { ErrorInfoSchema } from "../../../src/gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../../src/gen/google/rpc/status_pb.js";

const windowBytes = 1024 * 1024;
const service = "/annals.v1.EventStoreService";

export type MethodName =
  | "Append"
  | "AppendPipe"
  | "Read"
  | "Subscribe"
  | "SaveSnapshot"
  | "GetSnapshot"
  | "GetInfo";

/** Where a server is. One on this machine is known by its port alone. */
export interface ServerPlace {
  readonly host: string;
  readonly port: number;
  /** What a history calls it. */
  readonly name: string;
}

export interface Ended {
  /** gRPC's status. 0 is OK; 14 also means a lost connection. */
  readonly status: number;
  readonly message: string;
  /** The reason of the ErrorInfo. Empty: there are no details. */
  readonly reason: string;
  readonly conflict: AppendConflict | undefined;
}

export interface OpenCall {
  send(message: Uint8Array): void;
  half(): void;
  cancel(): void;
  readonly ended: Promise<Ended>;
}

export class WireClient {
  /** The server's name in a history. Empty: it is the only one. */
  readonly server: string;
  private readonly connection: Http2Connection;

  static async open(at: number | ServerPlace, window = windowBytes): Promise<WireClient> {
    const { host, port, name } =
      typeof at === "number" ? { host: "127.0.0.1", port: at, name: "" } : at;
    return new WireClient(await Http2Connection.open(host, port, window), name);
  }

  private constructor(connection: Http2Connection, server: string) {
    this.connection = connection;
    this.server = server;
  }

  get callCount(): number {
    return this.connection.callCount;
  }

  /** Closes without reporting anything about open calls. */
  close(): void {
    this.connection.close();
  }

  /** Reads nothing from the connection until `resume`. */
  pause(): void {
    this.connection.pause();
  }

  resume(): void {
    this.connection.resume();
  }

  /** Ends open calls as if the server had ended. */
  lose(): void {
    this.connection.fail("the client went away");
  }

  /** The bytes of the answer, which stay valid. Undefined: the call failed. */
  async unary(
    method: MethodName,
    request: Uint8Array,
  ): Promise<{ readonly answer: Buffer | undefined; readonly ended: Ended }> {
    let answer: Buffer | undefined;
    const call = this.stream(method, request, (message) => (answer = Buffer.from(message)));
    const ended = await call.ended;
    return { answer: ended.status === 0 ? answer : undefined, ended };
  }

  /** Messages are valid only during the callback. */
  stream(
    method: MethodName,
    request: Uint8Array,
    receive: (message: Buffer) => void,
  ): Pick<OpenCall, "cancel" | "ended"> {
    return this.call(method, request, true, receive);
  }

  /** A call with further request messages. */
  pipe(method: MethodName, first: Uint8Array, receive: (message: Buffer) => void): OpenCall {
    return this.call(method, first, false, receive);
  }

  private call(
    method: MethodName,
    first: Uint8Array,
    end: boolean,
    receive: (message: Buffer) => void,
  ): OpenCall {
    const { connection } = this;
    const reader = new MessageReader(receive);
    let resolve: (ended: Ended) => void = () => {};
    const ended = new Promise<Ended>((settle) => (resolve = settle));
    const id = connection.call(`${service}/${method}`, framed(first), end, {
      received: (bytes, from, to) => reader.received(bytes, from, to),
      ended: (status, message, trailers) => resolve(endedOf(status, message, trailers)),
    });
    connection.flush();
    return {
      ended,
      send(message) {
        connection.send(id, framed(message), false);
        connection.flush();
      },
      half() {
        connection.send(id, Buffer.alloc(0), true);
        connection.flush();
      },
      cancel() {
        connection.cancel(id);
        connection.flush();
        resolve({ status: 1, message: "cancelled here", reason: "", conflict: undefined });
      },
    };
  }
}

function endedOf(status: number, message: string, trailers?: Headers): Ended {
  const text = trailers?.get("grpc-status-details-bin");
  const details =
    text === undefined ? [] : fromBinary(StatusSchema, Buffer.from(text, "base64")).details;
  return { status, message, ...understood(details) };
}

/** The reason and conflict in the details of a status, of a call or of one append in a pipe. */
export function understood(details: readonly Any[]): Pick<Ended, "reason" | "conflict"> {
  let reason = "";
  let conflict: AppendConflict | undefined;
  for (const detail of details) {
    reason ||= anyUnpack(detail, ErrorInfoSchema)?.reason ?? "";
    conflict ??= anyUnpack(detail, AppendConflictSchema);
  }
  return { reason, conflict };
}
