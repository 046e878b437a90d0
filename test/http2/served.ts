// A server of the room under test, with a budget that can be looked at and handlers of the test's
// own.
import type { AddressInfo } from "node:net";
import type { Http2Options, Http2Stream, StreamHandler } from "../../src/http2/api.ts";
import { encodeHeaders } from "../../src/http2/hpack-encoder.ts";
import type { Http2Limits } from "../../src/http2/limits.ts";
import { Http2Server } from "../../src/http2/server.ts";

export const ok = encodeHeaders([
  [":status", "200"],
  ["content-type", "text/plain"],
]);
export const trailers = encodeHeaders([["x-end", "1"]]);

/** Counts what is held, and refuses beyond its bound. */
export class CountingBudget {
  held = 0;
  highest = 0;
  max = Infinity;

  take(bytes: number): boolean {
    if (this.held + bytes > this.max) return false;
    this.held += bytes;
    this.highest = Math.max(this.highest, this.held);
    return true;
  }

  give(bytes: number): void {
    this.held -= bytes;
  }
}

export interface Served {
  readonly server: Http2Server;
  readonly port: number;
  readonly budget: CountingBudget;
  readonly refusals: string[];
  readonly faults: unknown[];
  readonly streams: Http2Stream[];
  /** Resolves when no connection is left and all of the budget was given back. */
  empty(): Promise<void>;
  /** To be called last, with all clients gone: throws where something failed inside. */
  finish(): Promise<void>;
  stop(graceMs: number): Promise<number>;
}

export type Script = (stream: Http2Stream) => Partial<StreamHandler>;

/** Answers with the request's own body, as it comes. */
export const echo: Script = (stream) => {
  stream.respond(ok);
  return {
    onData: (part) => {
      stream.write(Buffer.from(part));
      taken(stream, part.length);
    },
    onEnd: () => stream.end(trailers),
  };
};

/** Answers complete requests with the bytes `x-answer` asks for. */
export const answering: Script = (stream) => ({
  onEnd: () => {
    stream.respond(ok);
    const bytes = Number(stream.headers.get("x-answer") ?? 0);
    if (bytes > 0) stream.write(Buffer.alloc(bytes, 0x61));
    stream.end(trailers);
  },
});

export async function serve(
  script: Script,
  limits: Partial<Http2Limits> = {},
  more: Partial<Http2Options> = {},
): Promise<Served> {
  const budget = new CountingBudget();
  const refusals: string[] = [];
  const faults: unknown[] = [];
  const streams: Http2Stream[] = [];
  const server = new Http2Server({
    limits: { tickMs: 10, ...limits },
    budgetOf: () => budget,
    onStream: (stream) => {
      streams.push(stream);
      return {
        onData: (part) => taken(stream, part.length),
        onEnd() {},
        onRefused() {},
        onSent() {},
        onReset() {},
        ...script(stream),
      };
    },
    onRefusal: (reason) => refusals.push(reason),
    onFault: (error) => faults.push(error),
    ...more,
  });
  const { port } = (await server.listen({ port: 0, host: "127.0.0.1" })) as AddressInfo;
  const empty = async (): Promise<void> => {
    while (server.connectionCount > 0 || budget.held > 0) await turn();
  };
  const finish = async (): Promise<void> => {
    await empty();
    await server.stop(0);
    if (faults.length > 0) throw new Error("a fault", { cause: faults[0] });
  };
  const stop = (graceMs: number): Promise<number> => server.stop(graceMs);
  return { server, port, budget, refusals, faults, streams, empty, finish, stop };
}

/** The caller is done with a part of the request, and wants more. */
export function taken(stream: Http2Stream | undefined, bytes: number): void {
  stream?.release(bytes);
  stream?.allow(bytes);
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
