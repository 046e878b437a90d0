// Connections of a greedy client: they open calls, and open them again when the server ends them.
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";

const stepMs = 20;
/** The healthy client comes from another address. */
const elsewhere = { localAddress: "127.0.0.2" };

export type Write = (stream: ClientHttp2Stream) => void;

/** Connections that open calls, and open them again when they end. */
export class Attacker {
  private readonly port: number;
  private readonly sessions = new Set<ClientHttp2Session>();
  private readonly open = new Set<Socket>();
  isOver = false;

  constructor(port: number) {
    this.port = port;
  }

  session(window = 65_535): ClientHttp2Session {
    const session = connect(`http://127.0.0.1:${this.port}`, {
      ...elsewhere,
      settings: { initialWindowSize: window },
    });
    session.setMaxListeners(0);
    session.on("error", () => {}).on("close", () => this.sessions.delete(session));
    this.sessions.add(session);
    return session;
  }

  private socket(): Socket {
    const socket = connectSocket({ ...elsewhere, port: this.port, host: "127.0.0.1" });
    socket.on("error", () => {}).on("close", () => this.open.delete(socket));
    this.open.add(socket);
    return socket;
  }

  /** So many connections, each again when it has ended, until the end. */
  async strangers(count: number, greet: (socket: Socket) => void): Promise<void> {
    while (!this.isOver) {
      for (let i = this.open.size; i < count; i++) greet(this.socket());
      await pause(stepMs);
    }
  }

  /** A call whose answer nobody reads. */
  call(
    session: ClientHttp2Session,
    path: string,
    write: Write,
    headers: Record<string, string> = {},
  ): ClientHttp2Stream | undefined {
    if (session.closed || session.destroyed) return undefined;
    const fields = { ":method": "POST", ":path": path, "content-type": "application/grpc" };
    const stream = session.request({ ...fields, te: "trailers", ...headers });
    stream.on("error", () => {});
    write(stream);
    return stream;
  }

  /** So many calls over so many connections, each again when it has ended, until the end. */
  async crowd(
    path: string,
    count: number,
    connections: number,
    write: Write,
    { window = 0, headers = {} }: { window?: number; headers?: Record<string, string> } = {},
  ): Promise<void> {
    const each = Math.ceil(count / connections);
    const one = async (): Promise<void> => {
      while (!this.isOver) {
        const session = this.session(window);
        let open = 0;
        const fill = (): void => {
          for (; open < each; open++) {
            const stream = this.call(session, path, write, headers);
            stream?.on("close", () => open--);
          }
        };
        while (!this.isOver && !session.closed && !session.destroyed) {
          fill();
          await pause(stepMs);
        }
        session.destroy();
        await pause(stepMs);
      }
    };
    await Promise.all(Array.from({ length: connections }, one));
  }

  end(): void {
    this.isOver = true;
    for (const session of this.sessions) session.destroy();
    for (const socket of this.open) socket.destroy();
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
