// Windows, both ways: a client that gives little, nothing, too much or less than before, and a
// caller that does not take what comes.
import { afterEach, expect, test } from "vitest";
import { defaultHttp2Limits, type Http2Limits } from "../../src/http2/limits.ts";
import { flag, setting, type } from "../../src/http2/protocol.ts";
import { data, frame, RawClient, request, settings, uint32 } from "./raw-client.ts";
import { answering, ok, serve, trailers, turn, type Script, type Served, taken } from "./served.ts";

let served: Served;
const clients: RawClient[] = [];

async function started(script: Script = answering, limits: Partial<Http2Limits> = {}) {
  served = await serve(script, limits);
}

function raw(initialWindow = 65_535): RawClient {
  const client = new RawClient(served.port, settings([setting.initialWindowSize, initialWindow]));
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await served.finish();
});

const wanting = (id: number, bytes: number): Buffer => request(id, [["x-answer", `${bytes}`]]);
const window = (id: number, bytes: number): Buffer =>
  frame(type.windowUpdate, 0, id, uint32(bytes));

test("nothing is sent beyond a stream's window, and all of it once it opens", async () => {
  await started();
  const client = raw(0);
  client.send(wanting(1, 100));
  await client.settle();
  expect(client.dataBytes(1)).toBe(0);
  expect(client.has(type.headers, 1)).toBe(true);
  for (const [bytes, expected] of [
    [1, 1],
    [10, 11],
    [88, 99],
  ] as const) {
    client.send(window(1, bytes));
    await client.settle();
    expect(client.dataBytes(1)).toBe(expected);
    expect(client.hasEnded(1)).toBe(false);
  }
  client.send(window(1, 50));
  await client.settle();
  expect(client.dataBytes(1)).toBe(100);
  expect(client.hasEnded(1)).toBe(true);
});

test("nothing is sent beyond the connection's window, and streams share what opens", async () => {
  await started();
  const client = raw(1_000_000);
  client.send(wanting(1, 200_000), wanting(3, 200_000), wanting(5, 0));
  await expect.poll(() => client.dataBytes(1) + client.dataBytes(3)).toBe(65_535);
  await client.settle();
  expect(client.dataBytes(1) + client.dataBytes(3)).toBe(65_535);
  expect(client.hasEnded(5)).toBe(true);
  client.send(window(0, 100_000));
  await expect.poll(() => client.dataBytes(1) + client.dataBytes(3)).toBe(165_535);
  expect(Math.abs(client.dataBytes(1) - client.dataBytes(3))).toBeLessThan(70_000);
  client.send(window(0, 1_000_000));
  while (!client.hasEnded(1) || !client.hasEnded(3)) await client.settle();
  expect([client.dataBytes(1), client.dataBytes(3)]).toEqual([200_000, 200_000]);
});

test("a window that is taken back below nothing is made up for first", async () => {
  await started();
  const client = raw(1_000);
  client.send(wanting(1, 2_000));
  await client.settle();
  expect(client.dataBytes(1)).toBe(1_000);
  client.send(settings([setting.initialWindowSize, 0]), window(1, 999));
  await client.settle();
  expect(client.dataBytes(1)).toBe(1_000);
  client.send(window(1, 2));
  await client.settle();
  expect(client.dataBytes(1)).toBe(1_001);
  client.send(settings([setting.initialWindowSize, 65_535]));
  await client.settle();
  expect(client.hasEnded(1)).toBe(true);
});

test("generated windows: what is sent is never more than allowed, and all that is", async () => {
  await started(answering, { controlFramesBurst: 1_000_000 });
  let random = 12345;
  const next = (max: number): number =>
    (random = (random * 1_103_515_245 + 12_345) % 2 ** 31) % max;
  for (let round = 0; round < 20; round++) {
    let initial = next(3_000);
    const client = raw(initial);
    const ids = [1, 3, 5];
    const wanted = ids.map(() => next(30_000));
    const opened = ids.map(() => 0);
    client.send(...ids.map((id, i) => wanting(id, wanted[i] ?? 0)));
    for (let step = 0; step < 20; step++) {
      const i = next(3);
      if (next(4) === 0) {
        initial = next(6_000);
        client.send(settings([setting.initialWindowSize, initial]));
      } else {
        const more = 1 + next(4_000);
        opened[i] = (opened[i] ?? 0) + more;
        client.send(window(ids[i] ?? 1, more));
      }
      await client.settle();
      for (const [j, id] of ids.entries()) {
        const allowed = Math.min(wanted[j] ?? 0, initial + (opened[j] ?? 0));
        const sent = client.dataBytes(id);
        // What was sent under a larger window than the present one stays sent.
        expect(sent).toBeGreaterThanOrEqual(Math.max(0, allowed));
        expect(client.hasEnded(id) ? sent : wanted[j]).toBe(wanted[j]);
      }
    }
    client.destroy();
  }
});

test.each<[string, Buffer[], number | undefined]>([
  ["a stream's window of 2^31", [request(1, [], 4), window(1, 2 ** 31 - 1)], 1],
  ["the connection's window of 2^31", [window(0, 2 ** 31 - 1)], undefined],
  [
    "a stream's window of 2^31 by SETTINGS",
    [
      request(1, [], 4),
      window(1, 2 ** 31 - 1 - 65_535),
      settings([setting.initialWindowSize, 65_536]),
    ],
    undefined,
  ],
])("%s is a FLOW_CONTROL_ERROR", async (_, frames, id) => {
  await started(() => ({}));
  const client = raw();
  client.send(...frames);
  if (id === undefined) expect((await client.goAway()).code).toBe(3);
  else expect(await client.resetCode(id)).toBe(3);
});

test("a window update of 0 is a PROTOCOL_ERROR, of the stream or of the connection", async () => {
  await started(() => ({}));
  const client = raw();
  client.send(request(1, [], 4), window(1, 0));
  expect(await client.resetCode(1)).toBe(1);
  client.send(window(0, 0));
  expect((await client.goAway()).code).toBe(1);
});

test("a client that sends more than a stream's window is reset, more than all: GOAWAY", async () => {
  await started(() => ({ onData() {} }), {
    streamWindowBytes: 65_535,
    connectionWindowBytes: 65_535,
  });
  const client = raw();
  await client.frame(type.settings);
  const open = flag.endHeaders;
  const full = Buffer.concat(Array.from({ length: 4 }, () => data(1, 16_383)));
  client.send(request(1, [], open), full);
  await client.settle();
  client.send(data(1, 4));
  expect(await client.resetCode(1)).toBe(3);
  taken(served.streams[0], 4 * 16_383);
  const padded = frame(type.data, flag.padded, 3, Buffer.alloc(16_384, 100));
  client.send(request(3, [], open), ...Array.from({ length: 6 }, () => padded));
  expect(await client.resetCode(3)).toBe(3);
  taken(served.streams[1], 4 * (16_384 - 101));
});

test("a window is given back when the caller has consumed, and not before", async () => {
  await started(() => ({ onData() {} }), { streamWindowBytes: 65_535 });
  const client = raw();
  client.send(request(1, [], flag.endHeaders), data(1, 16_384), data(1, 16_384), data(1, 16_384));
  await client.settle();
  const isUpdate = (each: { type: number; id: number }): boolean =>
    each.type === type.windowUpdate && each.id === 1;
  expect(client.frames.filter(isUpdate)).toEqual([]);
  taken(served.streams[0], 16_384);
  await client.settle();
  expect(client.frames.filter(isUpdate)).toEqual([]);
  taken(served.streams[0], 2 * 16_384);
  await client.settle();
  expect(client.frames.filter(isUpdate).map(({ payload }) => payload.readUInt32BE(0))).toEqual([
    3 * 16_384,
  ]);
});

test("one stream that is not consumed does not hold up the others", async () => {
  const consuming: Script = (stream) => ({ onEnd: () => stream.respond(ok, true) });
  await started((stream) => (stream.id === 1 ? { onData() {} } : consuming(stream)), {
    connectionWindowBytes: 65_535,
  });
  const client = raw();
  const { streamWindowBytes } = defaultHttp2Limits;
  const chunk = 16_384;
  client.send(request(1, [], flag.endHeaders));
  // Four times the connection's window: what is not consumed is not taken from it.
  for (let sent = 0; sent < streamWindowBytes; sent += chunk) {
    client.send(data(1, chunk));
    await client.settle();
  }
  client.send(request(3, [], flag.endHeaders), data(3, chunk, flag.endStream));
  await client.frame(type.headers, 3);
  expect(served.budget.held).toBeGreaterThan(streamWindowBytes);
  taken(served.streams[0], streamWindowBytes);
});

test("a caller that waits while much is unsent holds no more than its bound and a piece", async () => {
  let highest = 0;
  await started((stream) => {
    let left = 300;
    const more = (): void => {
      while (left > 0 && stream.unsentBytes < 50_000) {
        left--;
        stream.write(Buffer.alloc(10_000));
        highest = Math.max(highest, stream.unsentBytes);
        if (left === 0) stream.end(trailers);
      }
    };
    return {
      onEnd: () => {
        stream.respond(ok);
        more();
      },
      onSent: more,
    };
  });
  const client = raw();
  client.send(request(1));
  while (!client.hasEnded(1)) {
    await client.settle();
    client.send(window(0, 65_000), window(1, 65_000));
  }
  expect(client.dataBytes(1)).toBe(3_000_000);
  expect(highest).toBeLessThan(60_000);
  expect(served.budget.highest).toBeLessThan(300_000);
});

test("streams that wait for the connection's window and are reset leave nothing behind", async () => {
  await started(answering, { resetsBurst: 10_000 });
  const client = raw(1_000_000);
  client.send(wanting(1, 65_535));
  await client.settle();
  const idle = served.budget.held;
  for (let id = 3; id < 2_003; id += 2) {
    client.send(wanting(id, 10_000), frame(type.resetStream, 0, id, uint32(8)));
  }
  await client.settle();
  while (served.budget.held !== idle) await turn();
  client.send(window(0, 100_000), wanting(2_003, 10));
  await client.settle();
  expect(client.dataBytes(2_003)).toBe(10);
});

test("a caller is told when a client that took nothing opens its windows", async () => {
  let told = 0;
  await started((stream) => {
    stream.respond(ok);
    return {
      onEnd: () => stream.awaitWindow(),
      onSent: () => {
        told++;
        expect(stream.isBlocked).toBe(false);
      },
    };
  });
  const client = raw(0);
  client.send(request(1), request(3));
  await client.settle();
  const [first, second] = served.streams;
  expect([first?.isBlocked, second?.isBlocked, told]).toEqual([true, true, 0]);
  client.send(window(3, 1));
  await client.settle();
  expect([first?.isBlocked, second?.isBlocked, told]).toEqual([true, false, 1]);
  client.send(window(0, 1), window(3, 1));
  await client.settle();
  expect(told).toBe(1);
  client.send(settings([setting.initialWindowSize, 10]));
  await client.settle();
  expect(told).toBe(2);
});

test("a connection that is to pay ends its largest streams, with an answer of theirs", async () => {
  const refused: number[] = [];
  await started((stream) => {
    stream.respond(ok);
    stream.write(Buffer.alloc(Number(stream.headers.get("x-answer"))));
    return {
      onRefused: () => {
        refused.push(stream.id);
        stream.endInstead(trailers);
      },
    };
  });
  const client = raw(0);
  client.send(wanting(1, 10_000), wanting(3, 30_000), wanting(5, 20_000));
  await client.settle();
  const heldBefore = served.budget.held;
  served.streams[0]?.connection.relieve(40_000);
  expect(refused).toEqual([3, 5]);
  expect(heldBefore - served.budget.held).toBeGreaterThanOrEqual(50_000);
  await client.settle();
  expect([1, 3, 5].map((id) => client.hasEnded(id))).toEqual([false, true, true]);
  expect(client.dataBytes(3)).toBe(0);
});
