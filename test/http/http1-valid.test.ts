// What is valid by HTTP/1.1 is read as node:http reads it, in whatever parts it comes.
import fc from "fast-check";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawClient, startEcho, type EchoServer, type Seen } from "./echo.ts";

let echo: EchoServer;
let theirs: Server;
let theirPort: number;
beforeAll(async () => {
  echo = await startEcho();
  theirs = createServer((request, response) => {
    let body = "";
    request.setEncoding("latin1").on("data", (part: string) => (body += part));
    request.on("end", () => response.end(JSON.stringify(seenBy(request, body)), "latin1"));
  });
  await new Promise<void>((resolve) => theirs.listen(0, "127.0.0.1", resolve));
  theirPort = (theirs.address() as AddressInfo).port;
});
afterAll(() => {
  echo.stop();
  theirs.closeAllConnections();
  theirs.close();
});

function seenBy({ method = "", url: path = "", rawHeaders }: IncomingMessage, body: string): Seen {
  const headers = new Map<string, string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const [before, value] = [headers.get(name), rawHeaders[i + 1] as string];
    const joint = name === "cookie" ? "; " : ", ";
    headers.set(name, before === undefined ? value : before + joint + value);
  }
  return { method, path, headers: Object.fromEntries(headers), body };
}

const token = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}$/);
/** Names that mean something to the reader itself. */
const own = /^(host|content-length|transfer-encoding|connection|expect|upgrade|keep-alive)$/i;
const field = fc.record({
  name: fc.oneof(token, fc.constantFrom("cookie", "accept", "Content-Type", "X-A")),
  value: fc.stringMatching(/^([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?)?$/),
  before: fc.constantFrom("", " ", "\t", "  "),
  after: fc.constantFrom("", " ", "\t "),
});
const latin1 = fc
  .uint8Array({ maxLength: 300 })
  .map((bytes) => Buffer.from(bytes).toString("latin1"));
const request = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"),
  path: fc.stringMatching(/^\/[!-"$-~]{0,30}$/),
  fields: fc.array(field, { maxLength: 8 }),
  body: latin1,
  framing: fc.constantFrom("none", "length", "chunked"),
  chunks: fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 5 }),
  extension: fc.constantFrom("", ";a", ";a=b", ';a="b c";d'),
  trailers: fc.array(field, { maxLength: 2 }),
  cuts: fc.array(fc.nat(), { maxLength: 6 }),
});
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

function lines(fields: Request["fields"]): string {
  return fields
    .filter(({ name }) => !own.test(name))
    .map(({ name, value, before, after }) => `${name}:${before}${value}${after}\r\n`)
    .join("");
}

function bytesOf({ method, path, fields, body, framing, ...more }: Request): string {
  const head = `${method} ${path} HTTP/1.1\r\nHost: a:1\r\n${lines(fields)}`;
  if (framing === "none") return `${head}\r\n`;
  if (framing === "length") return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
  let text = `${head}Transfer-Encoding: Chunked\r\n\r\n`;
  const sizes = [...more.chunks, body.length];
  for (let at = 0; at < body.length;) {
    const chunk = body.slice(at, at + (sizes.shift() ?? body.length));
    at += chunk.length;
    text += `${chunk.length.toString(16).toUpperCase()}${more.extension}\r\n${chunk}\r\n`;
  }
  return `${text}0\r\n${lines(more.trailers)}\r\n`;
}

describe("what is valid", () => {
  test("is read as node:http reads it, one request after another on a connection", async () => {
    const one = fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 3 }), async (all) => {
      const [here, there] = [new RawClient(echo.port), new RawClient(theirPort)];
      for (const each of all) {
        await here.send(bytesOf(each), each.cuts);
        await there.send(bytesOf(each), each.cuts);
        const [mine, reference] = [await here.next(), await there.next()];
        const { body } = each.path === "/chunks" ? { body: "" } : mine;
        expect(JSON.parse(body)).toEqual(JSON.parse(reference.body));
      }
      here.socket.destroy();
      there.socket.destroy();
    });
    await fc.assert(one, { numRuns: 150 });
    expect(echo.faults).toEqual([]);
  }, 120_000);

  test("may come byte by byte", async () => {
    const text =
      "POST /a HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n";
    const client = await new RawClient(echo.port).send(
      text,
      Array.from(text, (_, at) => at),
    );
    expect(JSON.parse((await client.next()).body)).toMatchObject({ path: "/a", body: "abc" });
  });

  test("may be an absolute URL, which names the host", async () => {
    const client = await new RawClient(echo.port).send(
      "GET http://b:2?c HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    expect(JSON.parse((await client.next()).body)).toMatchObject({ path: "/?c" });
  });

  test("may have an empty line around it", async () => {
    const post = "\r\nPOST /a HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\n\r\nx\r\n";
    const client = await new RawClient(echo.port).send(post);
    await client.next();
    await client.send(post, [1, 3]);
    expect((await client.next()).head).toContain("200 OK");
  });
});
