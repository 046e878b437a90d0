// gRPC by hand over node:http2, for requests that no client sends and clients that stop in the
// middle.
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from "node:http2";

/**
 * The five bytes of a message's prefix, then the message. `compressed` and `length` may be wrong.
 */
export function messageFrame(
  message: Buffer,
  lie: { flag?: number; length?: number } = {},
): Buffer {
  const head = Buffer.alloc(5);
  head[0] = lie.flag ?? 0;
  head.writeUInt32BE(lie.length ?? message.length, 1);
  return Buffer.concat([head, message]);
}

export interface RawOutcome {
  httpStatus: number;
  /** `grpc-status`. -1: there is none. */
  code: number;
  status: number;
  message: string;
  details: Buffer | undefined;
  body: Buffer;
  /** The HTTP/2 error code with which the stream ended. */
  reset: number;
}

export class RawConnection {
  readonly session: ClientHttp2Session;

  constructor(port: number, options: { window?: number } = {}) {
    const settings = options.window === undefined ? {} : { initialWindowSize: options.window };
    this.session = connect(`http://127.0.0.1:${port}`, { settings });
    this.session.on("error", () => {});
  }

  request(path: string, headers: Record<string, string> = {}): ClientHttp2Stream {
    const stream = this.session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    stream.on("error", () => {});
    return stream;
  }

  /** Everything the server sends on the stream. */
  outcome(stream: ClientHttp2Stream): Promise<RawOutcome> {
    return new Promise((resolve) => {
      let headers: IncomingHttpHeaders = {};
      let trailers: IncomingHttpHeaders = {};
      const body: Buffer[] = [];
      stream.on("response", (got: IncomingHttpHeaders) => (headers = got));
      stream.on("trailers", (got: IncomingHttpHeaders) => (trailers = got));
      stream.on("data", (data: Buffer) => body.push(data));
      stream.on("close", () => {
        const said = { ...headers, ...trailers };
        const details = said["grpc-status-details-bin"];
        const code = Number(said["grpc-status"] ?? -1);
        resolve({
          httpStatus: Number(headers[":status"] ?? 0),
          code,
          status: code,
          message: decodeURI(String(said["grpc-message"] ?? "")),
          details: details === undefined ? undefined : Buffer.from(String(details), "base64"),
          body: Buffer.concat(body),
          reset: stream.rstCode,
        });
      });
    });
  }

  close(): void {
    this.session.destroy();
  }
}
