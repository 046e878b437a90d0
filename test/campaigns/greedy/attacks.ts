// What a greedy client does: it makes the server hold as much as it can, with real HTTP/2 from a
// process of its own. Each attack goes on until it is told to stop, and begins anew whatever the
// server ends.
import type { Socket } from "node:net";
import { setPriority } from "node:os";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import {
  ConsumeRequestSchema,
  CreateGroupRequestSchema,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { QuerySchema } from "../../../src/gen/annals/v1/query_pb.js";
import { ListStreamsRequestSchema } from "../../../src/gen/annals/v1/info_pb.js";
import {
  GetEventRequestSchema,
  ReadRequestSchema,
  SubscribeRequestSchema,
} from "../../../src/gen/annals/v1/read_pb.js";
import {
  GetSnapshotRequestSchema,
  LoadRequestSchema,
} from "../../../src/gen/annals/v1/snapshot_pb.js";
import { messageFrame } from "../../support/raw-connection.ts";
import { Attacker, pause, type Write } from "./attacker.ts";
import { otherAttacks, type OtherAttack } from "./other-protocols.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const storePath = "/annals.v1.EventStoreService";
const groupPath = "/annals.v1.ConsumerGroupService";
/** What `prepare` in campaign.ts stores, as large as the limits allow. */
export const largeStream = "large";
export const largeKind = "state";
/** Of the first of the events. */
export const largeId = "0190b000-0000-7000-8000-000000000000";
export const largeBytes = 2_900_000;
const end =
  (bytes: Buffer): Write =>
  (stream) =>
    void stream.end(bytes);
const begin =
  (bytes: Buffer): Write =>
  (stream) =>
    void stream.write(bytes);

function append(stream: string, events: { data: Buffer; tags?: string[] }[]): Buffer {
  const message = create(AppendRequestSchema, {
    stream,
    events: events.map(({ data, tags = [] }) => ({
      type: "Greed",
      tags,
      contentType: "application/octet-stream",
      payload: { case: "data" as const, value: data },
    })),
  });
  return Buffer.from(toBinary(AppendRequestSchema, message));
}

/** As large as the limits on counts allow: every value other than those of other queries. */
function largeQuery(salt: string) {
  const tagsOf = (item: number): string[] =>
    Array.from({ length: 64 }, (_, i) => `${salt}:${item}:${i}:`.padEnd(232, "t"));
  const items = Array.from({ length: 64 }, (_, item) => ({ tags: tagsOf(item) }));
  return create(QuerySchema, { items });
}

const snapshotRequest = Buffer.from(
  toBinary(
    GetSnapshotRequestSchema,
    create(GetSnapshotRequestSchema, { stream: largeStream, kind: largeKind }),
  ),
);
const loadRequest = Buffer.from(
  toBinary(
    LoadRequestSchema,
    create(LoadRequestSchema, { stream: largeStream, snapshotKind: largeKind }),
  ),
);
const readRequest = Buffer.from(
  toBinary(
    ReadRequestSchema,
    create(ReadRequestSchema, { selection: { case: "stream", value: largeStream } }),
  ),
);
const subscribeRequest = Buffer.from(
  toBinary(
    SubscribeRequestSchema,
    create(SubscribeRequestSchema, { selection: { case: "stream", value: largeStream } }),
  ),
);
const listRequest = Buffer.from(
  toBinary(ListStreamsRequestSchema, create(ListStreamsRequestSchema, { pageSize: 1_000 })),
);
const gzip = { "grpc-encoding": "gzip" };
const bomb = gzipSync(Buffer.alloc(7_900_000));
let salt = 0;

type Attack = (attacker: Attacker) => Promise<void>;

/** Each resolves when the attacker is over. */
const attacks: Readonly<Record<string, Attack>> = {
  ...Object.fromEntries(Object.entries(otherAttacks(largeStream)).map(crowdOf)),
  "gzip bombs": (a) =>
    a.crowd(`${storePath}/Append`, 200, 2, end(messageFrame(bomb, { flag: 1 })), {
      headers: gzip,
    }),
  "gzip without end": (a) =>
    a.crowd(
      `${storePath}/Append`,
      250,
      10,
      begin(messageFrame(Buffer.alloc(7 * MiB, 0x5a), { flag: 1, length: 8 * MiB })),
      { headers: gzip },
    ),
  "snapshots nobody takes": (a) =>
    a.crowd(`${storePath}/GetSnapshot`, 1_200, 2, end(messageFrame(snapshotRequest))),
  "loads nobody takes": (a) => a.crowd(`${storePath}/Load`, 200, 2, end(messageFrame(loadRequest))),
  "reads nobody takes": (a) => a.crowd(`${storePath}/Read`, 500, 2, end(messageFrame(readRequest))),
  "reads taken byte by byte": (a) =>
    a.crowd(`${storePath}/Read`, 500, 2, end(messageFrame(readRequest)), { window: 1 }),
  "subscriptions nobody takes": (a) =>
    a.crowd(`${storePath}/Subscribe`, 500, 2, end(messageFrame(subscribeRequest)), { window: 1 }),
  "requests without end": (a) =>
    a.crowd(
      `${storePath}/Append`,
      33,
      1,
      begin(messageFrame(Buffer.alloc(7_900_000), { length: 7_900_001 })),
    ),
  "requests without end, on many connections": (a) =>
    a.crowd(
      `${storePath}/Append`,
      400,
      200,
      begin(messageFrame(Buffer.alloc(500_000), { length: 7_900_001 })),
    ),
  "streams asked about": (a) => {
    const name = Buffer.from(largeStream);
    const request = Buffer.concat([Buffer.from([0x0a, name.length]), name]);
    const options = { window: 65_535 };
    return a.crowd(`${storePath}/GetStream`, 1_200, 2, end(messageFrame(request)), options);
  },
  "events asked for": (a) => {
    const request = create(GetEventRequestSchema, { id: largeId });
    const bytes = Buffer.from(toBinary(GetEventRequestSchema, request));
    return a.crowd(`${storePath}/GetEvent`, 500, 2, end(messageFrame(bytes)), { window: 1 });
  },
  "headers only": (a) => a.crowd(`${storePath}/Append`, 16_000, 4, () => {}),
  "pipes nobody takes": (a) => {
    const inner = append("greedy-pipe", [{ data: Buffer.alloc(64 * KiB) }]);
    const request = Buffer.concat([Buffer.from([0x0a]), varint(inner.length), inner]);
    return a.crowd(`${storePath}/AppendPipe`, 1_500, 4, (stream) => {
      for (let i = 0; i < 8; i++) stream.write(messageFrame(request));
    });
  },
  "queries kept": (a) =>
    a.crowd(`${storePath}/Subscribe`, 600, 2, (stream) => {
      const query = largeQuery(`q${salt++}`);
      const request = create(SubscribeRequestSchema, {
        selection: { case: "query", value: query },
        start: { case: "fromEnd", value: {} },
      });
      stream.end(messageFrame(Buffer.from(toBinary(SubscribeRequestSchema, request))));
    }),
  "groups kept": async (a) => {
    const session = a.session();
    for (let i = 0; i < 200 && !a.isOver; i++) {
      const name = `greedy-${process.pid}-${i}`;
      const settings = { query: largeQuery(name) };
      const request = create(CreateGroupRequestSchema, { name, settings });
      const bytes = Buffer.from(toBinary(CreateGroupRequestSchema, request));
      const stream = a.call(session, `${groupPath}/CreateGroup`, end(messageFrame(bytes)));
      await new Promise((resolve) =>
        stream ? stream.resume().once("close", resolve) : resolve(0),
      );
    }
    let next = 0;
    return a.crowd(`${groupPath}/Consume`, 200, 2, (stream) => {
      const join = { group: `greedy-${process.pid}-${next++ % 200}`, permits: 100 };
      const request = create(ConsumeRequestSchema, { message: { case: "join", value: join } });
      stream.write(messageFrame(Buffer.from(toBinary(ConsumeRequestSchema, request))));
    });
  },
  "members that take nothing": async (a) => {
    const name = `members-${process.pid}`;
    const request = create(CreateGroupRequestSchema, {
      name,
      settings: { query: { items: [{ streams: [largeStream] }] } },
    });
    const bytes = Buffer.from(toBinary(CreateGroupRequestSchema, request));
    const stream = a.call(a.session(), `${groupPath}/CreateGroup`, end(messageFrame(bytes)));
    await new Promise((resolve) => stream?.resume().once("close", resolve));
    const join = { group: name, permits: 100 };
    const joining = create(ConsumeRequestSchema, { message: { case: "join", value: join } });
    const frame = messageFrame(Buffer.from(toBinary(ConsumeRequestSchema, joining)));
    return a.crowd(`${groupPath}/Consume`, 500, 2, begin(frame), { window: 1 });
  },
  "large appends": (a) => {
    const request = append("greedy-appends", [{ data: Buffer.alloc(MiB) }]);
    return a.crowd(`${storePath}/Append`, 500, 8, end(messageFrame(request)), { window: 65_535 });
  },
  "large appends reset at once": async (a) => {
    const request = messageFrame(append("greedy-resets", [{ data: Buffer.alloc(MiB) }]));
    while (!a.isOver) {
      const session = a.session();
      for (let i = 0; i < 100; i++) {
        const stream = a.call(session, `${storePath}/Append`, end(request));
        stream?.once("finish", () => stream.close(8));
      }
      await pause(500);
      session.destroy();
    }
  },
  "lists of streams": (a) =>
    a.crowd(`${storePath}/ListStreams`, 400, 1, end(messageFrame(listRequest)), {
      window: 65_535,
    }),
  "lists of streams, reset at once": async (a) => {
    while (!a.isOver) {
      const session = a.session();
      for (let i = 0; i < 30_500 && !session.destroyed; i++) {
        a.call(session, `${storePath}/ListStreams`, end(messageFrame(listRequest)))?.close(8);
        if (i % 500 === 499) await pause(1);
      }
      session.destroy();
    }
  },
  "conditions looked up": (a) =>
    a.crowd(
      `${storePath}/Append`,
      400,
      2,
      (stream) => {
        const conditions = [{ query: largeQuery(`c${salt++}`), after: 0n }];
        const request = create(AppendRequestSchema, {
          stream: "greedy-conditions",
          events: [{ type: "Greed" }],
          conditions,
        });
        stream.end(messageFrame(Buffer.from(toBinary(AppendRequestSchema, request))));
      },
      { window: 65_535 },
    ),
  "new tags": (a) =>
    a.crowd(
      `${storePath}/Append`,
      8,
      2,
      (stream) => {
        const name = salt++;
        const events = Array.from({ length: 5_000 }, (_, i) => {
          const tags = [0, 1, 2, 3].map((j) => `t${process.pid}:${name}:${i}:${j}`);
          return { data: Buffer.alloc(0), tags };
        });
        stream.end(messageFrame(append("greedy-tags", events)));
      },
      { window: 65_535 },
    ),
  "silent connections": (a) => a.strangers(1_100, () => {}),
  "connections that only greet": (a) =>
    a.strangers(1_100, (socket) => {
      socket.on("data", () => {});
      socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0");
    }),
  "SSE by HTTP/1.1: subscriptions nobody takes": (a) =>
    a.strangers(490, (socket) =>
      untaken(socket, `GET /v1/subscribe?stream=${largeStream} HTTP/1.1\r\nhost: a\r\n\r\n`),
    ),
  "CloudEvents by HTTP/1.1: reads nobody takes": (a) =>
    a.strangers(490, (socket) =>
      untaken(socket, `GET /v1/events?stream=${largeStream} HTTP/1.1\r\nhost: a\r\n\r\n`),
    ),
};

/** Asks, and reads nothing of the answer. */
function untaken(socket: Socket, request: string): void {
  socket.pause();
  socket.write(request);
}

function crowdOf([name, other]: [string, OtherAttack]): [string, Attack] {
  const { path, calls, connections, frames, isEnded, window = 0, headers = {} } = other;
  const write: Write = (stream) => {
    for (const frame of frames) stream.write(frame);
    if (isEnded) stream.end();
  };
  return [name, (attacker) => attacker.crowd(path, calls, connections, write, { window, headers })];
}
export const attackNames = Object.keys(attacks);

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

if (process.argv[2] === "--attack") {
  const [port, ...names] = process.argv.slice(3);
  setPriority(0);
  const attacker = new Attacker(Number(port));
  process.once("disconnect", () => process.exit(0));
  process.once("message", () => {
    attacker.end();
    process.exit(0);
  });
  for (const name of names) void attacks[name]?.(attacker);
}
