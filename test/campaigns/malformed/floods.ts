// HTTP/2 and gRPC as no client speaks them: frames in floods, out of place or of the wrong length,
// headers without end, and compressed messages that are far larger than they look.
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { messageFrame, type RawConnection } from "../../support/raw-connection.ts";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const appendPath = "/annals.v1.EventStoreService/Append";
const floodMsMax = 3_000;

function frame(type: number, flags: number, id: number, payload: Buffer, length?: number): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length ?? payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

/** POST, http, an authority, a path, gRPC's content type: literals, so that no table is needed. */
function headerBlock(path: string, more: readonly [string, string][] = []): Buffer {
  const fields: [string, string][] = [
    [":path", path],
    [":authority", "flood"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...more,
  ];
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, "latin1");
    const length = [Math.min(bytes.length, 127)];
    let rest = bytes.length - 127;
    if (rest >= 0) {
      for (; rest >= 128; rest >>= 7) length.push((rest & 0x7f) | 0x80);
      length.push(rest);
    }
    return Buffer.concat([Buffer.from(length), bytes]);
  };
  const literal = ([name, value]: [string, string]): Buffer =>
    Buffer.concat([Buffer.from([0]), text(name), text(value)]);
  return Buffer.concat([Buffer.from([0x83, 0x86]), ...fields.map(literal)]);
}

const settings = frame(4, 0, 0, Buffer.alloc(0));

function repeated(count: number, make: (i: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));
}

/** What is written behind the preface and the settings, and how many inputs it counts as. */
const floods: Readonly<Record<string, (random: () => number) => readonly [Buffer, number]>> = {
  ping: () => [repeated(10_000, () => frame(6, 0, 0, Buffer.alloc(8))), 10_000],
  settings: () => [repeated(5_000, () => frame(4, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100]))), 5_000],
  "rapid reset": () => [
    repeated(4_000, (i) =>
      Buffer.concat([
        frame(1, 4, 2 * i + 1, headerBlock(appendPath)),
        frame(3, 0, 2 * i + 1, Buffer.from([0, 0, 0, 8])),
      ]),
    ),
    8_000,
  ],
  "headers without end": () => [
    Buffer.concat([
      frame(1, 0, 1, headerBlock(appendPath)),
      repeated(2_000, () => frame(9, 0, 1, headerBlock("/x").subarray(2))),
    ]),
    2_000,
  ],
  "huge metadata": (random) => [
    Buffer.concat([
      frame(1, 0, 1, headerBlock(appendPath)),
      frame(
        9,
        4,
        1,
        headerBlock("/", [["x-fill", "y".repeat(16_000 - Math.floor(random() * 99))]]).subarray(2),
      ),
      frame(0, 1, 1, messageFrame(Buffer.alloc(0))),
    ]),
    3,
  ],
  "empty data": () => [
    Buffer.concat([
      frame(1, 4, 1, headerBlock(appendPath)),
      repeated(20_000, () => frame(0, 0, 1, Buffer.alloc(0))),
    ]),
    20_000,
  ],
  "window updates": () => [repeated(5_000, () => frame(8, 0, 0, Buffer.from([0, 0, 0, 1]))), 5_000],
  "window overflow": () => [
    repeated(3, () => frame(8, 0, 0, Buffer.from([0x7f, 255, 255, 255]))),
    3,
  ],
  priority: () => [
    repeated(10_000, (i) => frame(2, 0, 2 * i + 1, Buffer.from([0, 0, 0, 0, 16]))),
    10_000,
  ],
  "many streams": () => [
    repeated(20_000, (i) => frame(1, 4, 2 * i + 1, headerBlock(appendPath))),
    20_000,
  ],
  "lengths that lie": (random) => [
    frame(0, 0, 1, Buffer.alloc(64), 0xff_ffff - Math.floor(random() * 1_000)),
    1,
  ],
  "random frames": (random) => [
    repeated(500, () => {
      const bytes = Buffer.from(
        Array.from({ length: Math.floor(random() * 60) }, () => random() * 256),
      );
      return frame(
        Math.floor(random() * 14),
        Math.floor(random() * 256),
        Math.floor(random() * 9),
        bytes,
      );
    }),
    500,
  ],
  noise: (random) => [Buffer.from(Array.from({ length: 5_000 }, () => random() * 256)), 1],
};
export const floodNames = Object.keys(floods);

/** Sends a flood on a connection of its own and waits until it is closed, or some seconds. */
export function flood(port: number, name: string, random: () => number): Promise<number> {
  const [bytes, count] = (floods[name] as (typeof floods)[string])(random);
  return new Promise((resolve) => {
    const socket: Socket = connect({ host: "127.0.0.1", port });
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(count);
    };
    const timer = setTimeout(done, floodMsMax);
    socket.on("error", done).on("close", done);
    socket.on("data", () => {});
    socket.on("connect", () => {
      socket.write(preface);
      socket.write(settings);
      socket.write(bytes, () => setTimeout(done, 50));
    });
  });
}

const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));

/** A gRPC message whose prefix lies, or that is a bomb. Answers the status it ended with. */
export async function lie(
  connection: RawConnection,
  body: Buffer,
  random: () => number,
): Promise<number> {
  const zipped = { "grpc-encoding": "gzip" };
  const kinds: (readonly [Buffer, Record<string, string>])[] = [
    [messageFrame(bomb, { flag: 1 }), zipped],
    [messageFrame(gzipSync(body), { flag: 1 }), zipped],
    [messageFrame(body, { flag: 1 }), zipped],
    [messageFrame(gzipSync(body).subarray(0, 12), { flag: 1 }), zipped],
    [messageFrame(body, { flag: 1 }), {}],
    [messageFrame(body, { flag: 1 }), { "grpc-encoding": "snappy" }],
    [messageFrame(body, { flag: Math.floor(random() * 256) }), {}],
    [messageFrame(body, { length: body.length + 1 }), {}],
    [messageFrame(body, { length: Math.max(0, body.length - 1) }), {}],
    [messageFrame(body, { length: 0xffff_ffff }), {}],
    [Buffer.concat([messageFrame(body), messageFrame(body)]), {}],
    [messageFrame(body).subarray(0, 3), {}],
    [Buffer.alloc(0), {}],
    [messageFrame(body), { "grpc-timeout": "99999999999999H" }],
    [messageFrame(body), { "x-bin-bin": "not base64 !!" }],
    [messageFrame(body), { "grpc-accept-encoding": "x".repeat(5_000) }],
  ];
  // Bombs cost a client little and a server much: one in a hundred is one.
  const at = random() < 0.01 ? 0 : 1 + Math.floor(random() * (kinds.length - 1));
  const [bytes, headers] = kinds[at] as (typeof kinds)[number];
  const stream = connection.request(appendPath, headers);
  const outcome = connection.outcome(stream);
  stream.end(bytes);
  return (await outcome).code;
}
