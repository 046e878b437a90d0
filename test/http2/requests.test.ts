// Requests and answers, by node's client and by frames no library would send.
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { afterEach, describe, expect, test } from "vitest";
import { encodeHeaders, hpackOf } from "../../src/http2/hpack-encoder.ts";
import { flag, setting, type } from "../../src/http2/protocol.ts";
import { data, frame, RawClient, request, requestFields, settings, uint32 } from "./raw-client.ts";
import {
  answering,
  echo,
  ok,
  serve,
  trailers,
  turn,
  type Script,
  type Served,
  taken,
} from "./served.ts";

const open: { served?: Served; sessions: ClientHttp2Session[]; raws: RawClient[] } = {
  sessions: [],
  raws: [],
};

async function started(script: Script, limits = {}): Promise<Served> {
  return (open.served = await serve(script, limits));
}

function session(options = {}): ClientHttp2Session {
  const made = connect(`http://127.0.0.1:${open.served?.port}`, options);
  made.on("error", () => {});
  open.sessions.push(made);
  return made;
}

function raw(begin?: Buffer): RawClient {
  const made = new RawClient(open.served?.port ?? 0, begin);
  open.raws.push(made);
  return made;
}

/** Whatever a test did, nothing stays: no connection, no byte of the budget, no fault. */
afterEach(async () => {
  for (const each of open.sessions.splice(0)) each.close();
  for (const each of open.raws.splice(0)) each.destroy();
  await open.served?.finish();
});

async function answer(stream: ClientHttp2Stream) {
  let fields = {};
  let end = {};
  const body: Buffer[] = [];
  stream.on("response", (got) => (fields = { ...got }));
  stream.on("trailers", (got) => (end = { ...got }));
  stream.on("data", (part: Buffer) => body.push(part));
  await new Promise((resolve, reject) => stream.on("close", resolve).on("error", reject));
  return { fields, end, body: Buffer.concat(body) };
}

describe("an answer", () => {
  test.each([0, 1, 5, 16_384, 65_535, 65_536, 1_000_000, 20_000_000])(
    "of %d bytes comes back as it was sent, with trailers",
    async (bytes) => {
      await started(echo);
      const stream = session({ maxSessionMemory: 64 }).request({ ":method": "POST", ":path": "/" });
      const sent = Buffer.alloc(bytes, "0123456789");
      stream.end(sent);
      const { fields, end, body } = await answer(stream);
      expect(fields).toMatchObject({ ":status": 200, "content-type": "text/plain" });
      expect(end).toMatchObject({ "x-end": "1" });
      expect(body.equals(sent)).toBe(true);
    },
  );

  test("comes at once where the caller responds at once", async () => {
    await started(echo);
    const stream = session().request({ ":method": "POST", ":path": "/" });
    const status = await new Promise((resolve) => {
      stream.on("response", (got) => resolve(got[":status"]));
    });
    expect(status).toBe(200);
    stream.end("x");
    expect((await answer(stream)).body.toString()).toBe("x");
  });

  test("may be headers alone, data without trailers, and headers longer than a frame", async () => {
    const long = "v".repeat(40_000);
    await started((stream) => ({
      onEnd: () => {
        const path = stream.headers.get(":path");
        if (path === "/headers") return stream.respond(ok, true);
        if (path === "/long") {
          return stream.respond(
            encodeHeaders([
              [":status", "200"],
              ["x-long", long],
            ]),
            true,
          );
        }
        stream.respond(ok);
        stream.write(Buffer.from("a"), Buffer.alloc(0), Buffer.from("b"));
        stream.end();
      },
    }));
    const client = session({ maxSessionMemory: 64 });
    expect((await answer(client.request({ ":path": "/headers" }))).body).toHaveLength(0);
    expect((await answer(client.request({ ":path": "/data" }))).body.toString()).toBe("ab");
    expect((await answer(client.request({ ":path": "/long" }))).fields).toMatchObject({
      "x-long": long,
    });
  });

  test("thousands of streams at once are answered, each with its own", async () => {
    await started(echo, { concurrentStreamsMax: 3_000 });
    const client = session();
    await new Promise((resolve) => client.once("remoteSettings", resolve));
    const answers = Array.from({ length: 2_500 }, async (_, i) => {
      const stream = client.request({ ":method": "POST", ":path": "/" });
      stream.end(`${i}`);
      return (await answer(stream)).body.toString();
    });
    expect(await Promise.all(answers)).toEqual(answers.map((_, i) => `${i}`));
  });

  test("in a thousand pieces arrives in order", async () => {
    await started((stream) => {
      stream.respond(ok);
      return {
        onEnd: () => {
          for (let i = 0; i < 1_000; i++) stream.write(Buffer.from(`${i},`), Buffer.alloc(i, "."));
          stream.end(trailers);
        },
      };
    });
    const expected = Array.from({ length: 1_000 }, (_, i) => `${i},${".".repeat(i)}`).join("");
    expect((await answer(session().request({ ":path": "/" }))).body.toString()).toBe(expected);
  });

  test("before the request's end is whole, and the rest of the request is reset in time", async () => {
    await started((stream) => {
      stream.respond(ok);
      stream.end(trailers);
      return {};
    });
    const client = raw();
    client.send(request(1, [], flag.endHeaders), data(1, 1_000));
    expect(await client.resetCode(1)).toBe(0);
    const order = client.frames.filter(({ id }) => id === 1).map((each) => each.type);
    expect(order).toEqual([type.headers, type.headers, type.resetStream]);
    client.send(data(1, 1_000), request(1, [], flag.endHeaders | flag.endStream));
    await client.settle();
    expect(client.has(type.goAway, 0)).toBe(false);
  });

  test("to a request that ends soon after has no reset behind it", async () => {
    await started((stream) => {
      stream.respond(ok, true);
      return {};
    });
    const client = raw();
    client.send(request(1, [], flag.endHeaders));
    await client.frame(type.headers, 1);
    client.send(data(1, 70_000 - 53_616), data(1, 0, flag.endStream));
    await client.settle();
    expect(open.served?.budget.held).toBe(48 * 1024);
    expect(client.has(type.resetStream, 1)).toBe(false);
  });
});

describe("what is no request", () => {
  const fields = (...pairs: [string, string][]): [string, string][] => pairs;
  const without = (name: string) => requestFields.filter(([each]) => each !== name);
  const block = (list: readonly (readonly [string, string])[]): Buffer =>
    Buffer.concat(
      list.flatMap(([name, value]) => [
        Buffer.from([0, name.length]),
        Buffer.from(name, "latin1"),
        Buffer.from([value.length]),
        Buffer.from(value, "latin1"),
      ]),
    );
  test.each([
    ["without a method", without(":method")],
    ["without a scheme", without(":scheme")],
    ["without a path", without(":path")],
    ["with an empty path", [...without(":path"), ...fields([":path", ""])]],
    ["with a path that is none", [...without(":path"), ...fields([":path", "x"])]],
    ["with two methods", [...requestFields, ...fields([":method", "GET"])]],
    ["with a pseudo-header behind the others", [...fields(["a", "b"]), ...requestFields]],
    ["with an unknown pseudo-header", [...fields([":x", "y"]), ...requestFields]],
    ["with a pseudo-header of answers", [...fields([":status", "200"]), ...requestFields]],
    ["with a capital letter", [...requestFields, ...fields(["A", "b"])]],
    ["with a space in a name", [...requestFields, ...fields(["a b", "c"])]],
    ["with a line break in a value", [...requestFields, ...fields(["a", "b\nc"])]],
    ["with a zero in a value", [...requestFields, ...fields(["a", "b\0c"])]],
    ["with a space around a value", [...requestFields, ...fields(["a", " b"])]],
    ["that speaks of its connection", [...requestFields, ...fields(["connection", "close"])]],
    ["with another TE than trailers", [...requestFields, ...fields(["te", "gzip"])]],
    [
      "with two lengths",
      [...requestFields, ...fields(["content-length", "1"], ["content-length", "2"])],
    ],
    ["with a length that is none", [...requestFields, ...fields(["content-length", "-1"])]],
  ])("a request %s is a PROTOCOL_ERROR of its stream", async (_, list) => {
    const served = await started(answering);
    const client = raw();
    client.send(frame(type.headers, flag.endHeaders | flag.endStream, 1, block(list)), request(3));
    expect(await client.resetCode(1)).toBe(1);
    await client.frame(type.headers, 3);
    expect(served.streams.map(({ id }) => id)).toEqual([3]);
  });

  test.each([
    ["more", "5", 6],
    ["less", "5", 4],
  ])("%s data than the length says is a PROTOCOL_ERROR", async (_, length, bytes) => {
    let reset = -1;
    await started((stream) => ({
      onReset: (code) => (reset = code),
      onData: (part) => taken(stream, part.length),
    }));
    const client = raw();
    client.send(
      request(1, [["content-length", length]], flag.endHeaders),
      data(1, bytes, flag.endStream),
    );
    expect(await client.resetCode(1)).toBe(1);
    expect(reset).toBe(1);
  });

  test("headers beyond their limit are answered 431", async () => {
    const served = await started(answering, { headerListBytesMax: 10_000, headerFieldsMax: 20 });
    const client = raw();
    const many = Array.from({ length: 20 }, (_, i): [string, string] => [`x-${i}`, ""]);
    client.send(request(1, [["x-long", "y".repeat(10_000)]]), request(3, many), request(5));
    const status = async (id: number) => (await client.frame(type.headers, id)).payload;
    await client.frame(type.headers, 5);
    const tooLarge = hpackOf([[":status", "431"]]);
    expect((await status(1)).subarray(1).equals(tooLarge)).toBe(true);
    expect((await status(3)).equals(tooLarge)).toBe(true);
    expect(served.streams.map(({ id }) => id)).toEqual([5]);
  });

  test("fields of one name are joined, cookies by semicolons", async () => {
    const served = await started(answering);
    const client = raw();
    client.send(request(1, fields(["a", "1"], ["cookie", "x"], ["a", "2"], ["cookie", "y"])));
    await client.frame(type.headers, 1);
    expect(served.streams[0]?.headers.get("a")).toBe("1, 2");
    expect(served.streams[0]?.headers.get("cookie")).toBe("x; y");
  });
});

describe("streams that are over", () => {
  test("are refused again, by the code their end calls for", async () => {
    const served = await started(answering);
    const cases: [name: string, send: Buffer[], goAway: number][] = [
      ["HEADERS of one that was closed", [request(1), request(1)], 5],
      [
        "HEADERS of one that was reset",
        [request(1), frame(type.resetStream, 0, 1, uint32(8)), request(1)],
        5,
      ],
      ["HEADERS of one that was passed over", [request(5), request(3)], 1],
      ["HEADERS of an even stream", [request(2)], 1],
      ["DATA of one that is idle", [data(1, 1)], 1],
      ["a reset of one that is idle", [frame(type.resetStream, 0, 1, uint32(8))], 1],
      ["a window of one that is idle", [frame(type.windowUpdate, 0, 1, uint32(1))], 1],
    ];
    for (const [name, send, code] of cases) {
      const client = raw();
      client.send(...send);
      expect([name, (await client.goAway()).code]).toEqual([name, code]);
      await client.closed;
    }
    await served.empty();
  });

  test("what a client sent before it heard of our reset is ignored", async () => {
    let told = 0;
    await started((stream) => ({
      onData: (part) => {
        told++;
        taken(stream, part.length);
        stream.reset(8);
      },
    }));
    const client = raw();
    client.send(request(1, [], flag.endHeaders), data(1, 1), data(1, 1), request(1));
    await client.settle();
    expect(await client.resetCode(1)).toBe(8);
    expect(
      client.frames.filter(({ id, type: kind }) => id === 1 && kind === type.resetStream),
    ).toHaveLength(1);
    expect(client.has(type.goAway, 0)).toBe(false);
    expect(told).toBe(1);
  });

  test("a handler is told once that its stream was lost, and nothing after", async () => {
    const told: string[] = [];
    await started((stream) => ({
      onData: (part) => {
        told.push("data");
        taken(stream, part.length);
      },
      onEnd: () => told.push("end"),
      onReset: (code) => told.push(`reset ${code}`),
    }));
    const client = raw();
    client.send(
      request(1, [], flag.endHeaders),
      data(1, 1),
      frame(type.resetStream, 0, 1, uint32(8)),
    );
    client.send(request(3));
    await client.settle();
    client.destroy();
    while (told.length < 4) await turn();
    expect(told).toEqual(["data", "reset 8", "end", "reset 8"]);
  });
});

test("what a handler throws ends its connection and no other", async () => {
  const served = await started((stream) => {
    if (stream.headers.get(":path") === "/bad") throw new Error("planted");
    return answering(stream);
  });
  const other = raw();
  const client = raw();
  client.send(
    frame(
      type.headers,
      flag.endHeaders | flag.endStream,
      1,
      hpackOf([...requestFields.filter(([name]) => name !== ":path"), [":path", "/bad"]]),
    ),
  );
  expect(await client.goAway()).toMatchObject({ code: 2 });
  other.send(request(1));
  await other.frame(type.headers, 1);
  expect(served.faults.splice(0)).toHaveLength(1);
});

test("a client with a small table, and one that changes it, understand our headers", async () => {
  await started(answering);
  for (const size of [0, 100, 4_095, 100_000]) {
    const client = raw(settings([setting.headerTableSize, size]));
    client.send(request(1));
    const { payload } = await client.frame(type.headers, 1);
    expect(payload[0]).toBe(0x20);
    client.send(settings([setting.headerTableSize, 0]), request(3));
    expect((await client.frame(type.headers, 3)).payload.equals(hpackOf(ok.fields))).toBe(true);
  }
});
