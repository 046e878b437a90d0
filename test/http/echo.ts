// HTTP/1.1 as bytes, for tests: a server that answers with what it has seen, and a client that sends
// what it is given.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import type { Http2Stream, StreamHandler } from "../../src/http2/api.ts";
import { encodeHeaders } from "../../src/http2/hpack-encoder.ts";
import { HttpServer, type HttpLimits } from "../../src/http/http-server.ts";

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  /** `reset`: the client went before the answer. */
  readonly body: string;
}

interface Answer {
  readonly head: string;
  readonly body: string;
}

export interface EchoServer {
  readonly port: number;
  /** Every request that was complete, and each that was reset. */
  readonly seen: Seen[];
  readonly faults: unknown[];
  stop(): void;
}

export async function startEcho(limits: Partial<HttpLimits> = {}): Promise<EchoServer> {
  const seen: Seen[] = [];
  const faults: unknown[] = [];
  const server = new HttpServer({
    routes: new Map(),
    limits: { tickMs: 20, lingerMs: 100, ...limits },
    onStream: (stream) => echo(stream, seen),
    onFault: (error) => faults.push(error),
  });
  const listener = createServer({ allowHalfOpen: true }, (socket) => {
    socket.pause();
    server.serve(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  const stop = (): void => {
    server.stop();
    listener.close();
  };
  return { port, seen, faults, stop };
}

/**
 * Answers with what it has seen: in one piece; from `/chunks` without a length. `/refused` is
 * answered before its body, `/slow` never, `/later` in a later turn, and the answer of `/early`
 * begins before the body comes.
 */
function echo(stream: Http2Stream, seen: Seen[]): StreamHandler {
  const parts: Buffer[] = [];
  const {
    ":method": method = "",
    ":path": path = "",
    ...others
  } = Object.fromEntries(stream.headers);
  delete others[":authority"];
  if (path === "/refused") answer(stream, "413", "too large", true);
  if (path === "/early") {
    stream.respond(encodeHeaders([[":status", "200"]]));
    stream.write(Buffer.from("early, "));
  }
  return {
    onData(part) {
      parts.push(Buffer.from(part));
      stream.release(part.length);
      stream.allow(part.length);
    },
    onEnd() {
      const body = Buffer.concat(parts).toString("latin1");
      seen.push({ method, path, headers: others, body });
      if (path === "/slow") return;
      if (path === "/early") {
        stream.write(Buffer.from(body, "latin1"));
        return stream.end();
      }
      const text = JSON.stringify(seen.at(-1));
      if (path === "/later") setTimeout(() => answer(stream, "200", text, true), 20);
      else answer(stream, "200", text, path !== "/chunks");
    },
    onRefused: () => answer(stream, "503", "no room", true),
    onSent() {},
    onReset() {
      seen.push({ method, path, headers: {}, body: "reset" });
    },
  };
}

function answer(stream: Http2Stream, status: string, text: string, hasLength: boolean): void {
  const body = Buffer.from(text, "latin1");
  const length = hasLength ? [["content-length", `${body.length}`] as const] : [];
  stream.respond(encodeHeaders([[":status", status], ...length]));
  for (let at = 0; at < body.length; at += 100) stream.write(body.subarray(at, at + 100));
  stream.end();
}

/** A connection over which bytes are sent as they are. */
export class RawClient {
  text = "";
  readonly socket: Socket;
  readonly closed: Promise<void>;

  constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket.on("error", () => {});
    this.socket.on("data", (bytes: Buffer) => (this.text += bytes.toString("latin1")));
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()));
  }

  /** Sends the bytes cut at these places, each part in a turn of its own. */
  async send(bytes: string, cuts: readonly number[] = []): Promise<this> {
    const places = [...new Set([...cuts.map((cut) => cut % bytes.length), bytes.length])];
    let from = 0;
    for (const to of places.toSorted((a, b) => a - b)) {
      this.socket.write(bytes.slice(from, to), "latin1");
      from = to;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this;
  }

  /** The head and the body of the next answer, which leave the text. */
  async next(): Promise<Answer> {
    for (;;) {
      const found = this.cut();
      if (found !== undefined) return found;
      if (this.socket.destroyed) throw new Error(`closed after ${JSON.stringify(this.text)}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  private cut(): Answer | undefined {
    const end = this.text.indexOf("\r\n\r\n") + 4;
    if (end < 4) return undefined;
    const head = this.text.slice(0, end);
    const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
    if (this.text.length < end + length) return undefined;
    const body = this.text.slice(end, end + length);
    this.text = this.text.slice(end + length);
    return { head, body };
  }
}
