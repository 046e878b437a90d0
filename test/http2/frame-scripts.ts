// Generated conversations of frames: some sound requests, then one frame (or some) of a named kind,
// sound, at a boundary, or hostile. From a seed, the same for ever.
import { hpackOf } from "../../src/http2/hpack-encoder.ts";
import { flag, setting, type } from "../../src/http2/protocol.ts";
import { encodeHuffman } from "./huffman-encoder.ts";
import { data, frame, request, requestFields, settings, uint32 } from "./raw-client.ts";

export interface Script {
  readonly kind: string;
  readonly bytes: Buffer;
  readonly frameCount: number;
  /** Those the script names, to be asked for what became of them. */
  readonly streams: readonly number[];
}

/** Numbers from 0 to `max` - 1. */
type Random = (max: number) => number;

/** What a conversation has come to. */
interface Talk {
  readonly random: Random;
  readonly frames: Buffer[];
  nextId: number;
  /** Requests that have not ended, and those that have. */
  readonly open: number[];
  readonly ended: number[];
}

const open = flag.endHeaders;
const garbage = (random: Random, max: number): Buffer =>
  Buffer.from(Array.from({ length: random(max) }, () => random(256)));
const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)] as T;

function begin(talk: Talk, ends: boolean, more: readonly [string, string][] = []): number {
  const id = talk.nextId;
  talk.nextId += 2;
  talk.frames.push(request(id, more, ends ? open | flag.endStream : open));
  (ends ? talk.ended : talk.open).push(id);
  return id;
}

/** The client says no more on it. */
function end(talk: Talk, id: number, into: number[]): number {
  const at = talk.open.indexOf(id);
  if (at >= 0) talk.open.splice(at, 1);
  into.push(id);
  return id;
}

const anOpen = (talk: Talk): number => pick(talk.random, talk.open) ?? begin(talk, false);
const anEnded = (talk: Talk): number => pick(talk.random, talk.ended) ?? begin(talk, true);
const anIdle = (talk: Talk): number => talk.nextId + 2 * talk.random(5);

const literal = (name: string, value: string): Buffer =>
  Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name, "latin1"),
    Buffer.from([value.length]),
    Buffer.from(value, "latin1"),
  ]);
const plain = requestFields.map(([name, value]) => literal(name, value));
const sound = Buffer.concat(plain);

function withBlock(talk: Talk, block: Buffer, flags = open | flag.endStream): void {
  talk.frames.push(frame(type.headers, flags, talk.nextId, block));
  talk.nextId += 2;
}

type Kind = (talk: Talk, random: Random) => void;

const badFields: Readonly<Record<string, Buffer[]>> = {
  "an upper-case name": [...plain, literal("X-Y", "z")],
  "a name with a space": [...plain, literal("x y", "z")],
  "an empty name": [...plain, literal("", "z")],
  "a value with a line break": [...plain, literal("x", "a\nb")],
  "a value with a zero": [...plain, literal("x", "a\0b")],
  "a value with another control character": [...plain, literal("x", "a\u0001b")],
  "a value between spaces": [...plain, literal("x", " a ")],
  "a connection header": [...plain, literal("connection", "close")],
  "an upgrade": [...plain, literal("upgrade", "h2c")],
  "a transfer encoding": [...plain, literal("transfer-encoding", "chunked")],
  "another TE": [...plain, literal("te", "gzip")],
  "TE of trailers": [...plain, literal("te", "trailers")],
  "a missing method": plain.slice(1),
  "a missing path": [...plain.slice(0, 2), ...plain.slice(3)],
  "a missing scheme": [plain[0] as Buffer, ...plain.slice(2)],
  "a missing authority": plain.slice(0, 3),
  "a second path": [...plain, literal(":path", "/")],
  "a late pseudo-header": [literal("x", "y"), ...plain],
  "an unknown pseudo-header": [...plain, literal(":x", "y")],
  "an empty path": [...plain.slice(0, 2), literal(":path", ""), ...plain.slice(3)],
  "a relative path": [...plain.slice(0, 2), literal(":path", "x"), ...plain.slice(3)],
  "two lengths": [...plain, literal("content-length", "0"), literal("content-length", "1")],
  "a length of no number": [...plain, literal("content-length", "x")],
  "a length without data": [...plain, literal("content-length", "5")],
  "a CONNECT": [literal(":method", "CONNECT"), literal(":authority", "x:1")],
  "a CONNECT with a path": [literal(":method", "CONNECT"), ...plain.slice(1)],
  "two cookies": [...plain, literal("cookie", "a"), literal("cookie", "b")],
  "a host beside the authority": [...plain, literal("host", "elsewhere")],
};

const hpackFaults: Readonly<Record<string, string>> = {
  "the index 0": "80",
  "an index beyond the table": "ff8001",
  "an integer without end": "ffffffffffffffffffff01",
  "a text that is cut off": "000a61",
  "a table too large": "3fffff0f",
  "a late change of the table": "8220",
  "a Huffman code of the end": "00016184ffffffff",
  "long Huffman padding": "000161821fff",
};

export const kinds: Readonly<Record<string, Kind>> = {
  "a request": (talk) => void begin(talk, true),
  "a request with data": (talk, random) => {
    const id = begin(talk, false);
    const count = random(4);
    for (let i = 0; i < count; i++) talk.frames.push(data(id, random(3_000)));
    talk.frames.push(data(end(talk, id, talk.ended), random(100), flag.endStream));
  },
  "padded data": (talk, random) => {
    const padding = random(20);
    const payload = Buffer.concat([Buffer.from([padding]), Buffer.alloc(random(50) + padding)]);
    talk.frames.push(frame(type.data, flag.padded, anOpen(talk), payload));
  },
  "more padding than data": (talk, random) => {
    const payload = Buffer.alloc(1 + random(20), 255);
    talk.frames.push(frame(type.data, flag.padded, anOpen(talk), payload));
  },
  "padding without a length": (talk) =>
    void talk.frames.push(frame(type.data, flag.padded, anOpen(talk))),
  trailers: (talk, random) => {
    const id = end(talk, begin(talk, false), talk.ended);
    const block = hpackOf([["x-trailer", `${random(9)}`]]);
    talk.frames.push(frame(type.headers, open | flag.endStream, id, block));
  },
  "trailers that do not end": (talk) => {
    const id = end(talk, begin(talk, false), []);
    talk.frames.push(frame(type.headers, open, id, hpackOf([["x", "y"]])));
  },
  "trailers with a pseudo-header": (talk) => {
    const id = end(talk, begin(talk, false), []);
    talk.frames.push(frame(type.headers, open | flag.endStream, id, literal(":path", "/")));
  },
  "a block in pieces": (talk, random) => {
    const cut = random(sound.length);
    talk.frames.push(
      frame(type.headers, flag.endStream, talk.nextId, sound.subarray(0, cut)),
      frame(type.continuation, open, talk.nextId, sound.subarray(cut)),
    );
    talk.nextId += 2;
  },
  "a block with another frame inside": (talk, random) => {
    talk.frames.push(frame(type.headers, flag.endStream, talk.nextId, sound.subarray(0, 9)));
    talk.frames.push(
      pick(random, [frame(type.ping, 0, 0, Buffer.alloc(8)), frame(99), settings()]),
    );
  },
  "a CONTINUATION of nothing": (talk) =>
    void talk.frames.push(frame(type.continuation, open, talk.nextId, sound)),
  "data behind the end": (talk) => void talk.frames.push(data(anEnded(talk), 1)),
  "headers behind the end": (talk) => {
    talk.frames.push(frame(type.headers, open | flag.endStream, anEnded(talk), sound));
  },
  "data of an idle stream": (talk) => void talk.frames.push(data(anIdle(talk), 1)),
  "data of no stream": (talk) => void talk.frames.push(data(0, 1)),
  "headers of no stream": (talk) => void talk.frames.push(request(0)),
  "an even stream": (talk, random) => void talk.frames.push(request(2 * (1 + random(9)))),
  "an older stream": (talk) => {
    talk.nextId += 4;
    begin(talk, true);
    talk.frames.push(request(talk.nextId - 4));
  },
  "a reset": (talk, random) => {
    const id = end(talk, anOpen(talk), []);
    talk.frames.push(frame(type.resetStream, 0, id, uint32(random(20))));
  },
  "a reset behind the end": (talk) =>
    void talk.frames.push(frame(type.resetStream, 0, anEnded(talk), uint32(8))),
  "a reset of an idle stream": (talk) =>
    void talk.frames.push(frame(type.resetStream, 0, anIdle(talk), uint32(8))),
  "data behind a reset": (talk) => {
    const id = end(talk, anOpen(talk), []);
    talk.frames.push(frame(type.resetStream, 0, id, uint32(8)), data(id, 1));
  },
  "a window": (talk, random) =>
    void talk.frames.push(
      frame(type.windowUpdate, 0, pick(random, [0, anOpen(talk)]), uint32(1 + random(1_000))),
    ),
  "a window of 0 of a stream": (talk) =>
    void talk.frames.push(frame(type.windowUpdate, 0, anOpen(talk), uint32(0))),
  "a window of 0 of the connection": (talk) =>
    void talk.frames.push(frame(type.windowUpdate, 0, 0, uint32(0))),
  "a window beyond all of a stream": (talk) =>
    void talk.frames.push(frame(type.windowUpdate, 0, anOpen(talk), uint32(2 ** 31 - 1))),
  "a window beyond all of the connection": (talk) =>
    void talk.frames.push(frame(type.windowUpdate, 0, 0, uint32(2 ** 31 - 1))),
  "a window of an idle stream": (talk) =>
    void talk.frames.push(frame(type.windowUpdate, 0, anIdle(talk), uint32(1))),
  "a window behind the end": (talk) =>
    void talk.frames.push(frame(type.windowUpdate, 0, anEnded(talk), uint32(1))),
  settings: (talk, random) => {
    const name = pick(random, [setting.maxConcurrentStreams, setting.maxHeaderListSize, 8, 77]);
    talk.frames.push(settings([name, name === 8 ? 1 : 1_000 + random(1_000)]));
  },
  "an initial window": (talk, random) =>
    void talk.frames.push(settings([setting.initialWindowSize, random(100_000)])),
  "an initial window beyond all": (talk) =>
    void talk.frames.push(settings([setting.initialWindowSize, 2 ** 31])),
  "a table size": (talk, random) =>
    void talk.frames.push(
      settings([setting.headerTableSize, pick(random, [0, 100, 4_096, 65_536])]),
    ),
  "a frame size": (talk, random) =>
    void talk.frames.push(
      settings([setting.maxFrameSize, pick(random, [16_384, 65_536, 2 ** 24 - 1])]),
    ),
  "a frame size too small": (talk, random) =>
    void talk.frames.push(settings([setting.maxFrameSize, random(16_384)])),
  "a push setting of 2": (talk) => void talk.frames.push(settings([setting.enablePush, 2])),
  "settings of another length": (talk, random) =>
    void talk.frames.push(frame(type.settings, 0, 0, Buffer.alloc(1 + random(5)))),
  "settings of a stream": (talk) => void talk.frames.push(frame(type.settings, 0, 1)),
  "an acknowledgement with settings": (talk) =>
    void talk.frames.push(frame(type.settings, flag.ack, 0, Buffer.alloc(6))),
  "a ping": (talk, random) =>
    void talk.frames.push(frame(type.ping, 0, 0, Buffer.concat([uint32(random(9)), uint32(1)]))),
  "an answer to no ping": (talk) =>
    void talk.frames.push(frame(type.ping, flag.ack, 0, Buffer.alloc(8, 9))),
  "a ping of another length": (talk, random) =>
    void talk.frames.push(frame(type.ping, 0, 0, Buffer.alloc(random(8)))),
  "a ping of a stream": (talk) => void talk.frames.push(frame(type.ping, 0, 1, Buffer.alloc(8))),
  "a priority": (talk, random) =>
    void talk.frames.push(
      frame(
        type.priority,
        0,
        anIdle(talk) + 2,
        Buffer.concat([uint32(random(2)), Buffer.alloc(1)]),
      ),
    ),
  "a priority of another length": (talk, random) =>
    void talk.frames.push(frame(type.priority, 0, anOpen(talk), Buffer.alloc(random(5)))),
  "a priority of itself": (talk) => {
    const id = anOpen(talk);
    talk.frames.push(frame(type.priority, 0, id, Buffer.concat([uint32(id), Buffer.alloc(1)])));
  },
  "headers that depend on themselves": (talk) => {
    const block = Buffer.concat([uint32(talk.nextId), Buffer.alloc(1), sound]);
    withBlock(talk, block, open | flag.endStream | flag.priority);
  },
  "a priority of no stream": (talk) =>
    void talk.frames.push(frame(type.priority, 0, 0, Buffer.alloc(5))),
  "a push": (talk) => void talk.frames.push(frame(type.pushPromise, open, anOpen(talk), uint32(2))),
  "a GOAWAY": (talk) => void talk.frames.push(frame(type.goAway, 0, 0, uint32(0, 0))),
  "a GOAWAY of a stream": (talk) => void talk.frames.push(frame(type.goAway, 0, 1, uint32(0, 0))),
  "a GOAWAY that is too short": (talk) =>
    void talk.frames.push(frame(type.goAway, 0, 0, Buffer.alloc(4))),
  "an unknown frame": (talk, random) =>
    void talk.frames.push(frame(11 + random(200), random(256), random(9), garbage(random, 50))),
  "a frame that is too long": (talk, random) =>
    void talk.frames.push(data(anOpen(talk), 16_385 + random(100))),
  "a lower-case Huffman request": (talk) => {
    const coded = encodeHuffman(Buffer.from("value-of-a-header"));
    const field = Buffer.concat([Buffer.from([0, 1, 0x78, 0x80 | coded.length]), coded]);
    withBlock(talk, Buffer.concat([sound, field]));
  },
  ...Object.fromEntries(
    Object.entries(badFields).map(([name, fields]): [string, Kind] => [
      `a request with ${name}`,
      (talk) => withBlock(talk, Buffer.concat(fields)),
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(hpackFaults).map(([name, hex]): [string, Kind] => [
      `headers with ${name}`,
      (talk) => withBlock(talk, Buffer.concat([sound, Buffer.from(hex, "hex")])),
    ]),
  ),
};

const soundKinds = [
  "a request",
  "a request with data",
  "padded data",
  "trailers",
  "a block in pieces",
].concat(["a reset", "a window", "a ping", "a priority", "an unknown frame", "a table size"]);
const allKinds = Object.keys(kinds);

function talkWith(random: Random): Talk {
  return { random, frames: [], nextId: 1, open: [], ended: [] };
}

function scriptOf(kind: string, { frames, nextId }: Talk): Script {
  const streams = Array.from({ length: (nextId - 1) / 2 }, (_, i) => 2 * i + 1);
  return { kind, bytes: Buffer.concat(frames), frameCount: frames.length, streams };
}

/** Sound frames, and one of a kind behind them. */
export function differentialScript(random: Random): Script {
  const talk = talkWith(random);
  const before = random(6);
  for (let i = 0; i < before; i++) kinds[pick(random, soundKinds)]?.(talk, random);
  const kind = pick(random, allKinds);
  kinds[kind]?.(talk, random);
  return scriptOf(kind, talk);
}

/** Anything at all: many frames of every kind, with bits flipped, and cut off anywhere. */
export function stormScript(random: Random): Script {
  const talk = talkWith(random);
  const count = 5 + random(100);
  for (let i = 0; i < count; i++) {
    if (random(8) === 0) {
      const [kind, flags, id] = [random(11), random(256), random(20)];
      talk.frames.push(frame(kind, flags, id, garbage(random, 100)));
    } else kinds[pick(random, random(3) === 0 ? allKinds : soundKinds)]?.(talk, random);
  }
  const script = scriptOf("storm", talk);
  if (random(2) === 0) {
    const flips = random(4);
    for (let i = 0; i < flips; i++) {
      const at = random(script.bytes.length);
      script.bytes[at] = (script.bytes[at] as number) ^ (1 << random(8));
    }
  }
  return random(4) === 0
    ? { ...script, bytes: script.bytes.subarray(0, random(script.bytes.length)) }
    : script;
}
