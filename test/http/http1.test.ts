// Requests by HTTP/1.1 as bytes: what two readers could read differently is refused, and ends the
// connection; and what becomes of a connection otherwise.
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { RawClient, startEcho, type EchoServer } from "./echo.ts";

let echo: EchoServer;
const clients: RawClient[] = [];
beforeAll(async () => {
  echo = await startEcho();
});
afterEach(() => {
  for (const { socket } of clients.splice(0)) socket.destroy();
  echo.seen.length = 0;
});
afterAll(() => echo.stop());

function opened(): RawClient {
  const client = new RawClient(echo.port);
  clients.push(client);
  return client;
}

const host = "host: a\r\n";
const post = `POST /a HTTP/1.1\r\n${host}`;
const chunked = `${post}transfer-encoding: chunked\r\n\r\n`;

describe("what two readers could read differently is refused, and nothing behind it is read", () => {
  test.each([
    ["two hosts", `GET /a HTTP/1.1\r\n${host}${host}\r\n`],
    ["no host", "GET /a HTTP/1.1\r\n\r\n"],
    ["a host that is none", "GET /a HTTP/1.1\r\nhost: a/b\r\n\r\n"],
    ["a list of hosts", "GET /a HTTP/1.1\r\nhost: a, b\r\n\r\n"],
    ["the same length twice", `${post}content-length: 1\r\ncontent-length: 1\r\n\r\nx`],
    ["two lengths", `${post}content-length: 1\r\nContent-Length: 2\r\n\r\nxx`],
    ["a list of lengths", `${post}content-length: 1, 1\r\n\r\nx`],
    ["an empty length", `${post}content-length:\r\n\r\n`],
    ["a negative length", `${post}content-length: -1\r\n\r\n`],
    ["a length with a sign", `${post}content-length: +1\r\n\r\nx`],
    ["a length in hex", `${post}content-length: 0x1\r\n\r\nx`],
    ["a length with a space inside", `${post}content-length: 1 1\r\n\r\nx`],
    ["a length without end", `${post}content-length: 1111111111111111\r\n\r\nx`],
    [
      "a length and chunks",
      `${post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      "chunks twice",
      `${post}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ["another coding", `${post}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    ["chunks that are not last", `${post}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ["identity", `${post}transfer-encoding: identity\r\ncontent-length: 1\r\n\r\nx`],
    ["a coding hidden by a tab", `${post}transfer-encoding: \u000bchunked\r\n\r\n0\r\n\r\n`],
    ["chunks by HTTP/1.0", "POST /a HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a space before a colon", `${post}content-length : 1\r\n\r\nx`],
    ["a space before a name", `${post} content-length: 1\r\n\r\nx`],
    ["a folded line", `${post}x: 1\r\n 2\r\n\r\n`],
    ["a line without a colon", `${post}content-length\r\n\r\n`],
    ["a field without a name", `${post}: 1\r\n\r\n`],
    ["a name that is none", `${post}content length: 1\r\n\r\nx`],
    ["a name of HTTP/2", `${post}:path: /b\r\n\r\n`],
    ["a LF alone", "GET /a HTTP/1.1\nhost: a\n\n"],
    ["a LF alone in a field", `${post}x: a\ncontent-length: 1\r\n\r\nx`],
    ["a CR alone in a field", `${post}x: a\rcontent-length: 1\r\n\r\nx`],
    ["two CRs", `${post}x: a\r\r\n\r\n`],
    ["a zero in a field", `${post}x: a\0b\r\n\r\n`],
    ["two spaces in the first line", `GET  /a HTTP/1.1\r\n${host}\r\n`],
    ["a tab in the first line", `GET\t/a HTTP/1.1\r\n${host}\r\n`],
    ["a space in the target", `GET /a b HTTP/1.1\r\n${host}\r\n`],
    ["a target that is not encoded", `GET /\xe4 HTTP/1.1\r\n${host}\r\n`],
    ["a target that is no path", `GET a HTTP/1.1\r\n${host}\r\n`],
    ["a host in the target that is none", `GET http://a@b/ HTTP/1.1\r\n${host}\r\n`],
    ["CONNECT", `CONNECT a:1 HTTP/1.1\r\n${host}\r\n`],
    ["a method that is none", `G(T /a HTTP/1.1\r\n${host}\r\n`],
    ["no version", `GET /a\r\n${host}\r\n`],
    ["another protocol", `GET /a HTTQ/1.1\r\n${host}\r\n`],
    ["a version in lower case", `GET /a http/1.1\r\n${host}\r\n`],
    ["TLS", "\u0016\u0003\u0001\u0002\u0000\u0001"],
    ["empty lines", "\r\n\r\n\r\n"],
    ["no size of a chunk", `${chunked}\r\nx\r\n0\r\n\r\n`],
    ["a size in other letters", `${chunked}g\r\nx\r\n0\r\n\r\n`],
    ["a size in C's hex", `${chunked}0x1\r\nx\r\n0\r\n\r\n`],
    ["a size with a sign", `${chunked}+1\r\nx\r\n0\r\n\r\n`],
    ["a size with a space before", `${chunked} 1\r\nx\r\n0\r\n\r\n`],
    ["a size with a space behind", `${chunked}1 \r\nx\r\n0\r\n\r\n`],
    ["a size with a space before its extension", `${chunked}1 ;a\r\nx\r\n0\r\n\r\n`],
    ["a size that overflows", `${chunked}100000001\r\nx\r\n0\r\n\r\n`],
    ["a size that ends in LF", `${chunked}1\nx\r\n0\r\n\r\n`],
    ["an extension with a LF", `${chunked}1;a\nb\r\nx\r\n0\r\n\r\n`],
    ["an extension with a CR", `${chunked}1;a\rb\r\nx\r\n0\r\n\r\n`],
    ["a chunk longer than its size", `${chunked}1\r\nxy\r\n0\r\n\r\n`],
    ["a chunk that ends in LF", `${chunked}1\r\nx\n0\r\n\r\n`],
    ["a trailer that is none", `${chunked}0\r\nx\r\n\r\n`],
    ["a trailer that is folded", `${chunked}0\r\nx: y\r\n z\r\n\r\n`],
    ["a trailer that ends in two CRs", `${chunked}0\r\nx: y\r\r\n\r\n`],
    ["a body that ends in LF", `${chunked}0\r\n\n`],
  ])("%s", async (_, bytes) => {
    const client = await opened().send(`${bytes}GET /behind HTTP/1.1\r\nhost: a\r\n\r\n`);
    await client.closed;
    expect(client.text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(client.text).toMatch(/\r\nconnection: close\r\n\r\n.+\n$/);
    expect(client.text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(echo.seen.filter(({ body }) => body !== "reset")).toEqual([]);
  });

  test.each([
    ["505", "a version that is not spoken", `GET /a HTTP/1.2\r\n${host}\r\n`],
    ["505", "HTTP/2 where only HTTP/1.1 is", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["417", "an expectation", `${post}expect: x\r\ncontent-length: 1\r\n\r\nx`],
    ["431", "a long head", `${post}x: ${"y".repeat(33_000)}\r\n\r\n`],
    ["431", "a head without end", `${post}${"x: y\r\n".repeat(6_000)}`],
    ["431", "many fields", `${post}${"x: y\r\n".repeat(600)}\r\n`],
    ["431", "long extensions", `${chunked}${`1;${"y".repeat(9_000)}\r\nx\r\n`.repeat(2)}0\r\n\r\n`],
    ["431", "a size without end", `${chunked}1;${"y".repeat(20_000)}`],
    ["431", "many trailers", `${chunked}0\r\n${"x: yyyyyyyyyyyyyyyy\r\n".repeat(1_000)}\r\n`],
  ])("%s: %s", async (status, _, bytes) => {
    const client = await opened().send(bytes);
    await client.closed;
    expect(client.text.slice(0, 13)).toBe(`HTTP/1.1 ${status} `);
    expect(echo.seen.filter(({ body }) => body !== "reset")).toEqual([]);
  });
});

describe("the connection", () => {
  test("says Continue where that is waited for, and not to what is refused or has come", async () => {
    const expecting = (path: string) =>
      `POST ${path} HTTP/1.1\r\n${host}content-length: 3\r\nexpect: 100-continue\r\n\r\n`;
    const client = await opened().send(expecting("/a"));
    expect((await client.next()).head).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    await client.send("abc");
    expect(JSON.parse((await client.next()).body)).toMatchObject({ body: "abc" });
    await client.send(`${expecting("/a")}abc`);
    expect((await client.next()).head).toContain("200 OK");
    await client.send(expecting("/refused"));
    await client.closed;
    expect(client.text).toMatch(/^HTTP\/1.1 413 [^]*connection: close\r\n[^]*too large$/);
    expect(client.text).not.toContain("Continue");
  });

  test("says Continue before an answer, and never within one", async () => {
    const client = await opened().send(
      `POST /early HTTP/1.1\r\n${host}content-length: 3\r\nexpect: 100-continue\r\n\r\n`,
    );
    await expect.poll(() => client.text).toContain("early, ");
    await client.send("abc");
    await client.closed;
    expect(client.text).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*early, \r\n3\r\nabc\r\n0\r\n\r\n$/);
    expect(client.text).not.toContain("Continue");
  });

  test("ends where the client asks for that, and after an answer by HTTP/1.0", async () => {
    for (const first of [
      `GET /a HTTP/1.1\r\n${host}connection: x, Close\r\n\r\n`,
      "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    ]) {
      const client = await opened().send(first);
      await client.closed;
      expect(client.text).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*connection: close\r\n[^]*"}$/);
    }
  });

  test("frames an answer without a length: in chunks, or by its end by HTTP/1.0", async () => {
    const client = await opened().send(`GET /chunks HTTP/1.1\r\n${host}\r\n`);
    await expect.poll(() => client.text).toMatch(/\r\n0\r\n\r\n$/);
    expect(client.text).toContain("transfer-encoding: chunked\r\n");
    client.text = "";
    await client.send(`GET /a HTTP/1.1\r\n${host}\r\n`);
    expect((await client.next()).head).toContain("200 OK");
    const old = await opened().send("GET /chunks HTTP/1.0\r\n\r\n");
    await old.closed;
    expect(old.text).not.toContain("chunked");
    expect(JSON.parse(old.text.slice(old.text.indexOf("\r\n\r\n") + 4))).toEqual(echo.seen.at(-1));
  });

  test("has no body behind the answer to HEAD", async () => {
    const client = await opened().send(`HEAD /a HTTP/1.1\r\n${host}\r\n`);
    await expect.poll(() => client.text).toMatch(/content-length: \d+\r\n[^]*\r\n\r\n$/);
    client.text = "";
    await client.send(`GET /a HTTP/1.1\r\n${host}\r\n`);
    expect((await client.next()).head).toContain("200 OK");
    await client.send(`HEAD /chunks HTTP/1.1\r\n${host}\r\n`);
    await client.next();
    await client.send(`GET /a HTTP/1.1\r\n${host}\r\n`);
    expect((await client.next()).head).toContain("200 OK");
  });

  test("answers the first of requests that are sent ahead, and ends", async () => {
    const client = await opened().send(`GET /a HTTP/1.1\r\n${host}\r\n`.repeat(100));
    await client.closed;
    expect(client.text.match(/HTTP\/1.1 200/g)).toHaveLength(1);
    expect(echo.seen).toHaveLength(1);
  });

  test("is cut off where bytes without end are sent ahead", async () => {
    const client = await opened().send(`GET /slow HTTP/1.1\r\n${host}\r\n`);
    await client.send("x".repeat(200_000));
    await client.closed;
    expect(echo.seen.map(({ body }) => body)).toEqual(["", "reset"]);
  });

  test("is read on for a while where an answer comes before the end of its request", async () => {
    const client = await opened().send(
      `POST /refused HTTP/1.1\r\n${host}content-length: 3000000\r\n\r\n`,
    );
    for (let i = 0; i < 30; i++) await client.send("x".repeat(100_000));
    await client.closed;
    expect(client.text).toMatch(/^HTTP\/1.1 413 [^]*connection: close\r\n[^]*too large$/);
    expect(echo.seen).toEqual([]);
  });

  test("ends as it said, also where the rest of a refused body has come by then", async () => {
    const client = await opened().send(
      `POST /refused HTTP/1.1\r\n${host}content-length: 3\r\n\r\nabc`,
    );
    expect((await client.next()).head).toContain("connection: close");
    await client.closed;
  });

  test("tells the handler when the client is gone", async () => {
    const client = await opened().send(`GET /slow HTTP/1.1\r\n${host}\r\n`);
    await expect.poll(() => echo.seen.length).toBe(1);
    client.socket.resetAndDestroy();
    await expect.poll(() => echo.seen.at(-1)?.body).toBe("reset");
  });
});

describe("a client that closes its sending side", () => {
  test.each(["/a", "/chunks", "/later"])(
    "behind its request gets the answer of %s",
    async (path) => {
      const client = opened();
      client.socket.end(`POST ${path} HTTP/1.1\r\n${host}content-length: 3\r\n\r\nabc`);
      await client.closed;
      expect(client.text).toMatch(/^HTTP\/1.1 200 OK\r\n/);
      expect(client.text).toContain('"body":"abc"');
    },
  );

  test.each([
    ["before a request", "", []],
    ["within the head", "GET /a HTT", []],
    ["within the body", `${post}content-length: 3\r\n\r\nab`, ["reset"]],
    ["within a chunk", `${chunked}3\r\nab`, ["reset"]],
  ])("%s is gone", async (_, bytes, seen) => {
    const client = opened();
    client.socket.end(bytes);
    await client.closed;
    expect(client.text).toBe("");
    expect(echo.seen.map(({ body }) => body)).toEqual(seen);
  });

  test("is let go of where no answer comes in time", async () => {
    const impatient = await startEcho({ exchangeMs: 100 });
    onTestFinished(() => impatient.stop());
    const client = new RawClient(impatient.port);
    clients.push(client);
    client.socket.end(`GET /slow HTTP/1.1\r\n${host}\r\n`);
    await client.closed;
    await expect.poll(() => impatient.seen.map(({ body }) => body)).toEqual(["", "reset"]);
  });
});
