// What a client of plain HTTP can cost the server: each is bounded.
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { HttpServer, type HttpLimits, type Routes } from "../../src/http/http-server.ts";

let http: HttpServer;
let net: Server;
let faults: unknown[] = [];
const sockets: Socket[] = [];

async function served(limits: Partial<HttpLimits> = {}, routes?: Routes): Promise<number> {
  faults = [];
  const said = () => ({ status: 200, type: "text/plain", body: "here\n" });
  http = new HttpServer({
    routes: routes ?? new Map([["/a", said]]),
    limits,
    onFault: (error) => faults.push(error),
  });
  // As the HTTP/2 server hands sockets on: paused, with what was read of them.
  net = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.once("data", (bytes: Buffer) => {
      socket.pause();
      http.serve(socket, bytes);
    });
  });
  await new Promise<void>((resolve) => net.listen(0, "127.0.0.1", resolve));
  return (net.address() as AddressInfo).port;
}

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  http.stop();
  net.close();
});

interface Client {
  readonly socket: Socket;
  readonly text: () => string;
  readonly closed: Promise<void>;
}

function client(port: number, first: string): Client {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("error", () => {}).on("data", (bytes: Buffer) => (text += bytes.toString()));
  sockets.push(socket);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write(first);
  return { socket, text: () => text, closed };
}

const get = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";

describe("a client of plain HTTP", () => {
  test("is answered on its connection again and again, in whatever pieces it speaks", async () => {
    const port = await served();
    const { socket, text } = client(port, "GET /a HT");
    socket.write("TP/1.1\r\nhost: x\r\n\r\n");
    await expect.poll(() => text().match(/here/g)?.length).toBe(1);
    socket.write(get);
    await expect.poll(() => text().match(/here/g)?.length).toBe(2);
    expect(http.connectionCount).toBe(1);
    socket.destroy();
    await expect.poll(() => http.connectionCount).toBe(0);
  });

  test.each([
    ["that never ends its headers", "GET /a HTTP/1.1\r\nx-one: 1\r\n"],
    ["that asks no second time", get],
  ])("%s is cut off", async (_, first) => {
    const port = await served({ exchangeMs: 50, idleMs: 50, tickMs: 10 });
    await client(port, first).closed;
    await expect.poll(() => http.connectionCount).toBe(0);
  });

  test("that sends bytes one by one is cut off all the same", async () => {
    const port = await served({ exchangeMs: 100, tickMs: 10 });
    const { socket, closed } = client(port, "GET /a HTTP/1.1\r\nx: ");
    const dripping = setInterval(() => socket.write("y"), 5);
    await closed;
    clearInterval(dripping);
    await expect.poll(() => http.connectionCount).toBe(0);
  });

  test("that sends a thousand requests ahead is cut off, and costs one answer at most", async () => {
    let asked = 0;
    const slow = async () => {
      asked++;
      await new Promise((resolve) => setTimeout(resolve, 10));
      return { status: 200, type: "text/plain", body: "here\n" };
    };
    const port = await served({}, new Map([["/a", slow]]));
    await client(port, get.repeat(1_000)).closed;
    expect(asked).toBe(1);
  });

  test("whose headers are too large is refused", async () => {
    const port = await served();
    const { text, closed } = client(port, `GET /a HTTP/1.1\r\nx: ${"y".repeat(40_000)}\r\n\r\n`);
    await closed;
    expect(text()).toMatch(/^HTTP\/1.1 431 /);
  });

  test("that speaks nothing known is refused", async () => {
    const port = await served();
    const { text, closed } = client(port, "\u0016\u0003\u0001 hello\r\n\r\n");
    await closed;
    expect(text()).toMatch(/^HTTP\/1.1 400 /);
  });

  test("is served although others keep every connection busy: the oldest gives way", async () => {
    const port = await served({ waitingMax: 3 });
    const idle = [1, 2, 3].map(() => client(port, "GET /a HTTP/1.1\r\n"));
    await expect.poll(() => http.connectionCount).toBe(3);
    const { text } = client(port, get);
    await expect.poll(text).toContain("here");
    await idle[0]?.closed;
    expect(http.connectionCount).toBe(3);
  });

  test("is told what it may do, and of a fault no more than that", async () => {
    const broken = () => {
      throw new Error("a secret");
    };
    const port = await served({}, new Map([["/broken", broken]]));
    const at = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init);
    expect((await at("/nothing")).status).toBe(404);
    const posted = await at("/broken", { method: "POST", body: "x".repeat(100_000) });
    expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    const failed = await at("/broken?q=1");
    expect([failed.status, await failed.text()]).toEqual([
      500,
      "a fault of the server; its log says more\n",
    ]);
    expect(faults).toEqual([new Error("a secret")]);
  });
});
