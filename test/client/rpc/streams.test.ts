// Streams of the client: the reader sets the pace, leaving cancels, signals and failures arrive.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServerDuplexStream, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { clientOf } from "../../../src/client/rpc/service-client.ts";
import type {
  AppendPipeRequest,
  AppendPipeRequestSchema,
} from "../../../src/gen/annals/v1/append_pb.js";
import { AppendPipeResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { GetInfoResponseSchema } from "../../../src/gen/annals/v1/info_pb.js";
import { ReadResponseSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { errorInfo, failureWith, scripted, type Scripted } from "./scripted-server.ts";

let server: Scripted | undefined;
afterEach(() => {
  server?.stop();
  server = undefined;
});

const payload = new Uint8Array(64 * 1024);
const messageCount = 1_000;

function batchAt(position: number) {
  const events = [{ position: BigInt(position), data: payload }];
  return create(ReadResponseSchema, { message: { case: "batch", value: { events } } });
}

/** Writes as fast as the client lets it; says how far it came and when the call was over. */
async function flooding() {
  const seen = { written: 0, over: false };
  let ended = () => {};
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const flood = async (call: ServerWritableStream<unknown, unknown>) => {
    let wake = () => {};
    call.on("drain", () => wake());
    call.on("cancelled", () => {
      seen.over = true;
      wake();
      ended();
    });
    for (let position = 1; position <= messageCount && !seen.over; position += 1) {
      const drained = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (!call.write(batchAt(position))) await drained;
      seen.written = position;
    }
    call.end();
  };
  const read = (call: ServerWritableStream<unknown, unknown>) => void flood(call);
  const getInfo = (_call: unknown, answer: sendUnaryData<unknown>) =>
    answer(null, create(GetInfoResponseSchema, {}));
  server = await scripted({ read, getInfo });
  const connection = server.connect({ windowBytes: 256 * 1024 });
  return { client: clientOf(EventStoreService, connection), seen, end };
}

describe("reading a stream", () => {
  test("a reader that pauses stops the server, and misses nothing when it goes on", async () => {
    const { client, seen } = await flooding();
    const positions: number[] = [];
    for await (const { message } of client.read({})) {
      if (message.case !== "batch") continue;
      positions.push(Number(message.value.events[0]?.position));
      if (positions.length !== 3) continue;
      for (let round = 0; round < 200; round += 1) await client.getInfo({});
      expect(seen.written).toBeLessThan(60);
    }
    expect(positions).toEqual(Array.from({ length: messageCount }, (_, index) => index + 1));
  });

  // grpc-js alone loses its back-pressure where a call is made some time before it is read.
  test("a reader that begins late is sent nothing before, and stops the server as well", async () => {
    const { client, seen } = await flooding();
    const reading = client.read({})[Symbol.asyncIterator]();
    for (let round = 0; round < 100; round += 1) await client.getInfo({});
    expect(seen.written).toBe(0);
    await reading.next();
    for (let round = 0; round < 200; round += 1) await client.getInfo({});
    expect(seen.written).toBeLessThan(60);
    await reading.return?.(undefined);
  });

  test("leaving the loop cancels the call", async () => {
    const { client, seen, end } = await flooding();
    for await (const _ of client.read({})) break;
    await end;
    expect(seen.written).toBeLessThan(messageCount);
  });

  test("a signal ends it with the signal's own reason", async () => {
    const { client, end } = await flooding();
    const stop = new AbortController();
    const reason = new Error("enough");
    const reading = (async () => {
      for await (const _ of client.read({}, { signal: stop.signal })) stop.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
    await end;
  });

  test("a signal that is aborted already keeps the call from being made", async () => {
    const { client, seen } = await flooding();
    const reading = client.read({}, { signal: AbortSignal.abort(new Error("before")) });
    await expect(reading[Symbol.asyncIterator]().next()).rejects.toThrow("before");
    expect(seen.written).toBe(0);
  });

  test("a failure arrives after the messages that came before it", async () => {
    const read = (call: ServerWritableStream<unknown, unknown>) => {
      call.write(batchAt(1), () =>
        call.emit("error", failureWith(14, "stopping", [errorInfo("STOPPING")])),
      );
    };
    server = await scripted({ read });
    const client = clientOf(EventStoreService, server.connect());
    const reading = (async () => {
      for await (const _ of client.read({})) continue;
    })();
    await expect(reading).rejects.toMatchObject({ reason: "STOPPING" });
  });
});

/** Answers each append with its number in the call; says which appends it got. */
async function answering(answerMax = Number.POSITIVE_INFINITY) {
  const received: string[] = [];
  const appendPipe = (call: ServerDuplexStream<AppendPipeRequest, unknown>) => {
    call.on("data", ({ append }: AppendPipeRequest) => {
      received.push(append?.stream ?? "");
      if (received.length > answerMax) return;
      call.write(create(AppendPipeResponseSchema, { sequence: BigInt(received.length) }));
      if (received.length === answerMax) call.end();
    });
    call.on("end", () => call.end());
  };
  server = await scripted({ appendPipe });
  return { client: clientOf(EventStoreService, server.connect()), received };
}

type Pipe = AsyncGenerator<MessageInitShape<typeof AppendPipeRequestSchema>>;

describe("a pipe of appends", () => {
  test("sends in order and yields as many answers", async () => {
    const { client, received } = await answering();
    async function* appends(): Pipe {
      for (let index = 1; index <= 500; index += 1) yield { append: { stream: `s-${index}` } };
    }
    const answers: number[] = [];
    for await (const { sequence } of client.appendPipe(appends())) answers.push(Number(sequence));
    expect(answers).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
    expect(received).toEqual(Array.from({ length: 500 }, (_, index) => `s-${index + 1}`));
  });

  test("a source that fails cancels the call, and its failure is what is thrown", async () => {
    const { client } = await answering();
    async function* appends(): Pipe {
      yield { append: { stream: "s-1" } };
      throw new Error("the file is torn");
    }
    const running = (async () => {
      for await (const _ of client.appendPipe(appends())) continue;
    })();
    await expect(running).rejects.toThrow("the file is torn");
  });

  test("when the server ends early, the source is told to return", async () => {
    const { client } = await answering(2);
    let returned = false;
    async function* appends(): Pipe {
      try {
        for (let index = 1; ; index += 1) yield { append: { stream: `s-${index}` } };
      } finally {
        returned = true;
      }
    }
    let answers = 0;
    for await (const _ of client.appendPipe(appends())) answers += 1;
    expect(answers).toBe(2);
    await expect.poll(() => returned).toBe(true);
  });
});
