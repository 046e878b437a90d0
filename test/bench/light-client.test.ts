// The light HTTP/2 client against servers it did not grow up with: Node's own and grpc-js.
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { Http2Connection } from "../../bench/load/http2-connection.ts";
import { framed, MessageReader } from "../../bench/load/messages.ts";

const ending: (() => void)[] = [];

afterEach(() => {
  for (const end of ending.splice(0)) end();
});

const identity = (bytes: Buffer) => bytes;

function method(path: string, requestStream: boolean, responseStream: boolean) {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
}

/** Echoes; refuses an empty message; streams as many bytes as the message says. */
async function grpcServer(): Promise<number> {
  const server = new Server();
  server.addService(
    {
      echo: method("/t.T/Echo", false, false),
      pipe: method("/t.T/Pipe", true, true),
      stream: method("/t.T/Stream", false, true),
    },
    {
      echo({ request }: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
        if (request.length > 0) done(null, request);
        else done({ code: 3, details: "empty: naïve" });
      },
      pipe(duplex: ServerDuplexStream<Buffer, Buffer>) {
        duplex.on("data", (message: Buffer) => duplex.write(message));
        duplex.on("end", () => duplex.end());
        duplex.on("error", () => {});
      },
      stream(writable: ServerWritableStream<Buffer, Buffer>) {
        for (let left = Number(writable.request.toString()); left > 0; left -= 50_000) {
          writable.write(Buffer.alloc(Math.min(left, 50_000), 1));
        }
        writable.end();
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  ending.push(() => server.forceShutdown());
  return port;
}

async function connected(port: number, windowBytes = 65_535): Promise<Http2Connection> {
  const connection = await Http2Connection.open("127.0.0.1", port, windowBytes);
  ending.push(() => connection.close());
  return connection;
}

interface Answer {
  readonly status: number;
  readonly message: string;
  readonly messages: Buffer[];
}

/** One call with its messages, all of them written at once. */
function call(connection: Http2Connection, path: string, sent: readonly Buffer[]): Promise<Answer> {
  return new Promise((resolve) => {
    const messages: Buffer[] = [];
    const reader = new MessageReader((message) => void messages.push(Buffer.from(message)));
    const [first = Buffer.alloc(0), ...rest] = sent;
    const id = connection.call(path, framed(first), rest.length === 0, {
      received: (bytes, start, end) => reader.received(bytes, start, end),
      ended: (status, message) => resolve({ status, message, messages }),
    });
    for (const [i, message] of rest.entries()) {
      connection.send(id, framed(message), i === rest.length - 1);
    }
    connection.flush();
  });
}

test("calls of one connection are answered, each with its own message", async () => {
  const connection = await connected(await grpcServer());
  const sent = Array.from({ length: 300 }, (_, i) => Buffer.from(`message ${i}`));
  const answers = await Promise.all(
    sent.map((message) => call(connection, "/t.T/Echo", [message])),
  );
  expect(answers.map(({ status }) => status)).toEqual(sent.map(() => 0));
  expect(answers.map(({ messages }) => String(messages[0]))).toEqual(sent.map(String));
  expect(connection.callCount).toBe(0);
});

test("a refusal arrives with its status, an unknown method too", async () => {
  const connection = await connected(await grpcServer());
  const refused = await call(connection, "/t.T/Echo", [Buffer.alloc(0)]);
  expect(refused.status).toBe(3);
  expect(decodeURIComponent(refused.message)).toBe("empty: naïve");
  expect((await call(connection, "/t.T/Nothing", [Buffer.alloc(1)])).status).toBe(12);
});

test("messages larger than the server's windows get through, in order", async () => {
  const connection = await connected(await grpcServer());
  const sent = Array.from({ length: 20 }, (_, i) => Buffer.alloc(90_000, i));
  const { status, messages } = await call(connection, "/t.T/Pipe", sent);
  expect(status).toBe(0);
  expect(messages.map((message) => [message.length, message[0]])).toEqual(
    sent.map((message) => [message.length, message[0]]),
  );
});

test.each([65_535, 1 << 20, 4 << 20])(
  "a stream larger than a window of %i bytes arrives whole",
  async (windowBytes) => {
    const connection = await connected(await grpcServer(), windowBytes);
    const wanted = 12_345_678;
    const request = [Buffer.from(String(wanted))];
    const answers = await Promise.all([1, 2].map(() => call(connection, "/t.T/Stream", request)));
    for (const { status, messages } of answers) {
      expect(status).toBe(0);
      expect(messages.reduce((bytes, message) => bytes + message.length, 0)).toBe(wanted);
    }
  },
);

test("a connection that is lost ends every call as unavailable", async () => {
  const server = createServer();
  server.on("stream", (stream) => stream.session?.destroy());
  server.on("sessionError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ending.push(() => server.close());
  const connection = await connected((server.address() as AddressInfo).port);
  const answers = await Promise.all(
    [1, 2, 3].map(() => call(connection, "/t.T/Echo", [Buffer.from("x")])),
  );
  expect(answers.map(({ status }) => status)).toEqual([14, 14, 14]);
  expect((await call(connection, "/t.T/Echo", [Buffer.from("x")])).status).toBe(14);
});

test("header values of every printable character are decoded, coded and plain", async () => {
  const printable = String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 33 + i));
  const server = createServer();
  server.on("stream", (stream) => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { endStream: false, waitForTrailers: true },
    );
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": "9", "grpc-message": printable }),
    );
    stream.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ending.push(() => server.close());
  const connection = await connected((server.address() as AddressInfo).port);
  // The second and third time they come out of the table.
  for (let i = 0; i < 3; i++) {
    const { status, message } = await call(connection, "/t.T/Echo", [Buffer.from("x")]);
    expect({ status, message }).toEqual({ status: 9, message: printable });
  }
});
