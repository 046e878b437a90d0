// What a hostile client of HTTP/1.1 can cost the server: each is bounded, and others are served.
import { connect, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ask, askJson } from "../../support/http.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(["--request-idle-seconds", "1", "--request-seconds", "2"]);
});
afterAll(() => server.stop());
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  const { status } = await askJson(server.address, "EventStoreService/GetInfo", {});
  if (status !== 200) throw new Error(`others are answered with ${status}`);
});

interface Talk {
  readonly socket: Socket;
  readonly text: () => string;
  readonly closed: Promise<void>;
}

function talk(first: string | Buffer): Talk {
  const socket = connect(Number(server.address.split(":")[1]), "127.0.0.1");
  let text = "";
  socket.on("error", () => {}).on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
  sockets.push(socket);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write(first);
  return { socket, text: () => text, closed };
}

const path = "/annals.v1.EventStoreService/GetInfo";
const head = (more: string, method = "POST") =>
  `${method} ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n${more}\r\n`;

async function held(): Promise<number> {
  const { body } = await ask(server.address, "/metrics");
  return Number(/^annals_client_memory_bytes (\d+)/m.exec(body.toString())?.[1]);
}

describe("lengths that two readers could read differently are refused", () => {
  test.each([
    ["two lengths", head("content-length: 2\r\ncontent-length: 3\r\n") + "{}x"],
    [
      "a length and chunks",
      head("content-length: 2\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n",
    ],
    ["chunks that are not last", head("transfer-encoding: chunked, identity\r\n") + "{}"],
    ["a length with a sign", head("content-length: +2\r\n") + "{}"],
    ["a length in hex", head("content-length: 0x2\r\n") + "{}"],
    ["a space before the colon", head("content-length : 2\r\n") + "{}"],
    ["a folded line", head("content-length: 2\r\n 3\r\n") + "{}"],
    ["no length of a chunk", head("transfer-encoding: chunked\r\n") + "x\r\n{}\r\n0\r\n\r\n"],
    ["a line that ends in LF alone", head("").replaceAll("\r\n", "\n")],
    ["no host", `POST ${path} HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}`],
  ])("%s", async (_, bytes) => {
    const { text, closed } = talk(bytes);
    await closed;
    expect(text()).toMatch(/^HTTP\/1.1 400 /);
    expect(text().match(/HTTP\/1.1/g)).toHaveLength(1);
  });
});

describe("a request that never ends", () => {
  test("of which nothing more comes is refused in time", async () => {
    const { text } = talk(head("content-length: 100\r\n") + "{");
    await expect.poll(text, { timeout: 10_000 }).toMatch(/^HTTP\/1.1 504 [^]*request_idle_seconds/);
  });

  test("of which a byte comes now and then is refused in time", async () => {
    const { socket, text } = talk(head("content-length: 100000\r\n"));
    const dripping = setInterval(() => socket.write(" "), 100);
    await expect.poll(text, { timeout: 10_000 }).toMatch(/^HTTP\/1.1 504 [^]*request_seconds/);
    clearInterval(dripping);
  });

  test("and has no length is refused at the limit, whatever still comes", async () => {
    const { socket, text, closed } = talk(head("transfer-encoding: chunked\r\n"));
    const chunk = Buffer.concat([
      Buffer.from("100000\r\n"),
      Buffer.alloc(1 << 20, 32),
      Buffer.from("\r\n"),
    ]);
    for (let i = 0; i < 40 && !socket.destroyed; i++) {
      if (!socket.write(chunk)) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await expect.poll(text, { timeout: 10_000 }).toMatch(/^HTTP\/1.1 413 /);
    socket.destroy();
    await closed;
    await expect.poll(held, { timeout: 10_000 }).toBeLessThan(1 << 20);
  });
});

test("many large requests at a time are held within the budget, and let go", async () => {
  const talks = Array.from({ length: 60 }, () =>
    talk(
      Buffer.concat([
        Buffer.from(head("content-length: 4000000\r\n")),
        Buffer.alloc(3_900_000, 32),
      ]),
    ),
  );
  await expect
    .poll(() => talks.filter(({ text }) => text() !== "").length, { timeout: 20_000 })
    .toBeGreaterThan(0);
  expect(await held()).toBeLessThan(81 * 1024 * 1024);
  for (const { socket } of talks) socket.destroy();
  await expect.poll(held, { timeout: 10_000 }).toBeLessThan(1 << 20);
});

test("requests that are sent ahead end the connection", async () => {
  const { text, closed } = talk((head("content-length: 2\r\n") + "{}").repeat(500));
  await closed;
  expect((text().match(/HTTP\/1.1 200/g) ?? []).length).toBeLessThan(3);
});

test("a flood of headers is refused", async () => {
  const { text, closed } = talk(head(`x: ${"y".repeat(1_000)}\r\n`.repeat(100)));
  await closed;
  expect(text()).toMatch(/^HTTP\/1.1 431 /);
});

test.each([
  ["CONNECT", "CONNECT localhost:1 HTTP/1.1\r\nhost: localhost\r\n\r\n"],
  ["an upgrade", head("connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n") + "{}"],
  ["TRACE", head("", "TRACE")],
])("%s leads nowhere", async (_, bytes) => {
  const { socket, text } = talk(bytes);
  const settled = () => socket.destroyed || /^HTTP\/1.1 (200|405|400)/.test(text());
  await expect.poll(settled, { timeout: 5_000 }).toBe(true);
  expect(text()).not.toMatch(/ 101 /);
});
