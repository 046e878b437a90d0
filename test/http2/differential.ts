// The same frames to a server of ours and to one of node:http2: what became of the connection and
// of each stream, and which differences are known, with their reasons.
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { encodeHeaders } from "../../src/http2/hpack-encoder.ts";
import type { Http2Limits } from "../../src/http2/limits.ts";
import { flag, type } from "../../src/http2/protocol.ts";
import type { Script } from "./frame-scripts.ts";
import { RawClient } from "./raw-client.ts";
import { serve, taken, type Served } from "./served.ts";

/** `answered`, `reset 8`, `answered, reset 0` or `open`; of the connection `open` or `goaway 1`. */
export interface Outcome {
  readonly connection: string;
  readonly streams: readonly string[];
}

const head = encodeHeaders([[":status", "200"]]);
const hello = Buffer.from("hello");

/** Both answer every complete request with `hello`. The limits are ours. */
export interface Pair {
  readonly ours: Served;
  readonly oursPort: number;
  readonly nodePort: number;
  stop(): Promise<void>;
}

export async function startPair(limits: Partial<Http2Limits> = {}): Promise<Pair> {
  const ours = await serve(
    (stream) => ({
      onData: (part) => taken(stream, part.length),
      onEnd: () => {
        stream.respond(head);
        stream.write(hello);
        stream.end();
      },
    }),
    { tickMs: 1_000, ...limits },
  );
  const node = createServer({ settings: { maxConcurrentStreams: 1_000 } });
  node.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.resume();
    stream.on("end", () => {
      if (stream.destroyed || stream.closed) return;
      stream.respond({ ":status": 200 });
      stream.end(hello);
    });
  });
  node.on("sessionError", () => {});
  await new Promise<void>((resolve) => void node.listen(0, "127.0.0.1", resolve));
  const nodePort = (node.address() as AddressInfo).port;
  const stop = async (): Promise<void> => {
    node.close();
    await ours.finish();
  };
  return { ours, oursPort: ours.port, nodePort, stop };
}

/** Sends the script, waits until its answers have settled. */
export async function outcomeOf(port: number, script: Script): Promise<Outcome> {
  const client = new RawClient(port);
  client.send(script.bytes);
  try {
    for (let round = 0; round < 3; round++) await client.settle();
  } catch {
    // It was closed: what it said before counts.
  }
  const goAway = client.frames.findLast((each) => each.type === type.goAway);
  const code = goAway?.payload.readUInt32BE(4);
  const streams = script.streams.map((id) => {
    const reset = client.frames.find((each) => each.type === type.resetStream && each.id === id);
    const ends = (each: { type: number; flags: number; id: number }): boolean =>
      each.id === id && each.type <= type.headers && (each.flags & flag.endStream) !== 0;
    const answered = client.frames.some(ends) ? ["answered"] : [];
    const ended = reset === undefined ? [] : [`reset ${reset.payload.readUInt32BE(0)}`];
    return [...answered, ...ended].join(", ") || "open";
  });
  const wasClosed = client.isClosed ? "closed" : "open";
  client.destroy();
  return { connection: code === undefined ? wasClosed : `goaway ${code}`, streams };
}

interface Difference {
  readonly ours: RegExp;
  readonly node: RegExp;
  readonly why: string;
}

/** What is known to differ, by the kind of the last frame, with who is right and why. */
export const knownDifferences: Readonly<Record<string, Difference>> = {
  "a priority of itself": {
    ours: /^goaway 1$/,
    node: /^open$/,
    why: "RFC 7540, 5.3.1: an error. node ignores priorities altogether",
  },
  "a priority of no stream": {
    ours: /^goaway 1$/,
    node: /^open$/,
    why: "RFC 9113, 6.3: a connection error of PROTOCOL_ERROR",
  },
  "a request with a missing authority": {
    ours: /^answered$/,
    node: /^reset 1$/,
    why: "RFC 9113, 8.3.1: an authority may be absent; gRPC over Unix sockets makes use of that",
  },
  ...Object.fromEntries(
    [
      "a name with a space",
      "an empty name",
      "a value between spaces",
      "a value with a line break",
      "a value with a zero",
    ].map((what): [string, Difference] => [
      `a request with ${what}`,
      {
        ours: /^reset 1$/,
        node: /^answered$/,
        why: "RFC 9113, 8.2.1: malformed. node drops the field and goes on",
      },
    ]),
  ),
  "a reset behind the end": {
    ours: /^answered$/,
    node: /^open$/,
    why: "ours had answered when the reset came",
  },
  "a window beyond all of a stream": {
    ours: /^open$/,
    node: /^goaway 3$/,
    why: "RFC 9113, 6.9.1: a stream error, and not of the connection",
  },
  "a window of 0 of a stream": {
    ours: /^open$/,
    node: /^goaway 1$/,
    why: "RFC 9113, 6.9: a stream error, and not of the connection",
  },
  "an answer to no ping": {
    ours: /^open$/,
    node: /^goaway 2$/,
    why: "RFC 9113, 6.7 makes it no error; node ends the connection",
  },
  "an older stream": {
    ours: /^goaway 1$/,
    node: /^open$/,
    why: "RFC 9113, 5.1.1: a connection error of PROTOCOL_ERROR. node ignores the frame",
  },
  "data behind a reset": {
    ours: /^reset 5$/,
    node: /^open$/,
    why: "RFC 9113, 5.1: STREAM_CLOSED of the stream. node ignores the frame",
  },
  "data behind the end": {
    ours: /^open$/,
    node: /^goaway 5$/,
    why: "RFC 9113, 5.1: a stream error, and not of the connection",
  },
  "padding without a length": {
    ours: /^goaway 6$/,
    node: /^goaway 1$/,
    why: "RFC 9113, 4.2: a frame too small for what it must hold is FRAME_SIZE_ERROR",
  },
};

/** What differs and is not known to. */
export function unexplained(script: Script, ours: Outcome, node: Outcome): string[] {
  const pairs: [string, string][] = [];
  if (ours.connection !== node.connection) pairs.push([ours.connection, node.connection]);
  // What had been answered before the connection ended is a matter of time.
  else if (ours.connection === "open") {
    for (const [i, stream] of ours.streams.entries()) {
      const other = node.streams[i] ?? "";
      if (stream !== other) pairs.push([stream, other]);
    }
  }
  const known = knownDifferences[script.kind];
  return pairs
    .filter(([a, b]) => known === undefined || !known.ours.test(a) || !known.node.test(b))
    .map(
      ([a, b]) => `${script.kind}: ours ${a}, node ${b}, frames ${script.bytes.toString("hex")}`,
    );
}
