// A client of Server-Sent Events that keeps the frames it was sent.
import { get as httpGet, type IncomingMessage } from "node:http";

export interface Frame {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
  readonly retry?: string;
}

export class Source {
  readonly frames: Frame[] = [];
  response: IncomingMessage | undefined;
  ended = false;
  private rest = "";
  private readonly request;

  constructor(address: string, path: string, headers: Record<string, string> = {}) {
    this.request = httpGet(`http://${address}${path}`, { headers, agent: false }, (response) => {
      this.response = response;
      response.setEncoding("utf8");
      response.on("data", (text: string) => this.take(text));
      response.on("end", () => (this.ended = true)).on("error", () => {});
    });
    this.request.on("error", () => (this.ended = true));
  }

  get types(): string[] {
    return this.frames.flatMap(({ event, data = "" }) =>
      event === undefined && data !== "" ? [(JSON.parse(data) as { type: string }).type] : [],
    );
  }

  /** Of the events, by their ids. */
  get positions(): number[] {
    return this.frames.flatMap(({ event, id }) =>
      event === undefined && id !== undefined ? [Number(id.split("@")[0])] : [],
    );
  }

  get lastId(): string {
    return this.frames.findLast(({ id }) => id !== undefined)?.id ?? "";
  }

  names(): (string | undefined)[] {
    return this.frames.map(({ event }) => event);
  }

  close(): void {
    this.request.destroy();
  }

  private take(text: string): void {
    const parts = (this.rest + text).split("\n\n");
    this.rest = parts.pop() ?? "";
    for (const part of parts) {
      const fields = part.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2));
      this.frames.push(Object.fromEntries(fields) as Frame);
    }
  }
}
