// A client that asks for something and takes no more than its window, with raw frames over a real
// socket, until the test widens it.
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import { hpackOf } from "../../src/http2/hpack-encoder.ts";
import { flag, type } from "../../src/http2/protocol.ts";
import { data, frame, RawClient, uint32 } from "../http2/raw-client.ts";
import { messageFrame } from "./raw-connection.ts";

/** Of the connection, its stream, and what has been given to the socket. */
const restBytesMax = 80 * 1024;
export const initialWindow = 65_535;
const plenty = 100_000_000;
const timeoutMs = 20_000;

interface Asked {
  readonly port: number;
  /** What the server holds for its clients. */
  readonly memory: { readonly bytes: number | Promise<number> };
}

export class StandingClient {
  readonly raw: RawClient;
  private readonly server: Asked;

  constructor(server: Asked) {
    this.server = server;
    this.raw = new RawClient(server.port);
  }

  ask(path: string, request: Buffer, contentType = "application/grpc"): void {
    this.send("POST", path, contentType, messageFrame(request));
  }

  send(method: string, path: string, contentType: string, body: Buffer): void {
    const fields: [string, string][] = [
      [":method", method],
      [":scheme", "http"],
      [":path", path],
      [":authority", "localhost"],
      ["content-type", contentType],
      ["te", "trailers"],
    ];
    const head = frame(type.headers, flag.endHeaders, 1, hpackOf(fields));
    this.raw.send(head, data(1, body, flag.endStream));
  }

  widen(bytes: number): void {
    this.raw.send(frame(type.windowUpdate, 0, 0, uint32(bytes)));
    this.raw.send(frame(type.windowUpdate, 0, 1, uint32(bytes)));
  }

  /** Until the client has what its window allows, and the server holds nothing more for it. */
  async dropped(window: number): Promise<void> {
    const isSo = async (): Promise<boolean> =>
      this.raw.dataBytes(1) === window && (await this.server.memory.bytes) < restBytesMax;
    for (const until = Date.now() + timeoutMs; !(await isSo()); await pause(20)) {
      if (Date.now() < until) continue;
      const held = await this.server.memory.bytes;
      throw new Error(`${this.raw.dataBytes(1)} bytes came and ${held} are held`);
    }
  }

  /** Takes nothing for a while, again after a part of a message more, and then everything. */
  async takesLate(): Promise<void> {
    const more = 7_001;
    await this.dropped(initialWindow);
    this.widen(more);
    await this.dropped(initialWindow + more);
    this.widen(plenty);
  }

  /** What has come, with the prefixes of messages. */
  bytes(): Buffer {
    const parts = this.raw.frames.filter((each) => each.type === type.data && each.id === 1);
    return Buffer.concat(parts.map(({ payload }) => payload));
  }

  /** The whole messages that have come. */
  messages(): Buffer[] {
    const bytes = this.bytes();
    const found: Buffer[] = [];
    for (let at = 0; bytes.length - at >= 5;) {
      const end = at + 5 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      found.push(bytes.subarray(at + 5, end));
      at = end;
    }
    return found;
  }
}

/**
 * One client takes nothing for a while, another takes all at once: in the end both have the same,
 * so many events.
 */
export async function expectNoneLost(
  connected: () => StandingClient,
  asks: (client: StandingClient) => void,
  eventsOf: (client: StandingClient) => readonly string[],
  count: number,
): Promise<void> {
  const slow = connected();
  asks(slow);
  await slow.takesLate();
  const quick = connected();
  asks(quick);
  quick.widen(plenty);
  for (const each of [slow, quick]) {
    await expect.poll(() => eventsOf(each).length, { timeout: timeoutMs }).toBe(count);
  }
  expect(eventsOf(slow)).toEqual(eventsOf(quick));
}
