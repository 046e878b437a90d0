// The server behind TLS and on a Unix socket.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type ClientHttp2Session } from "node:http2";
import { connect as connectSocket, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { Http2Options, Http2Stream } from "../../src/http2/api.ts";
import { encodeHeaders } from "../../src/http2/hpack-encoder.ts";
import { Http2Server } from "../../src/http2/server.ts";
import { makeAuthority, sign, type Authority } from "../support/certificates.ts";
import { CountingBudget, turn, taken } from "./served.ts";

const folder = mkdtempSync(join(tmpdir(), "http2-tls-"));
const authority = makeAuthority(folder, "authority");
const stranger = makeAuthority(folder, "stranger");
const pem = ({ cert, key }: Authority) => ({ cert: readFileSync(cert), key: readFileSync(key) });
const first = pem(sign(folder, "first", authority));
const second = pem(sign(folder, "second", authority));
const client = pem(sign(folder, "client", authority));
const ca = readFileSync(authority.cert);
afterAll(() => rmSync(folder, { recursive: true }));

const budget = new CountingBudget();
const refusals: string[] = [];
let server: Http2Server;
const sessions: ClientHttp2Session[] = [];

/** Answers with the client's name, and how it came. */
function made(more: Partial<Http2Options> = {}): Http2Server {
  const answer = (stream: Http2Stream): void => {
    const { certificate, peer } = stream.connection;
    const fields: [string, string][] = [
      [":status", "200"],
      ["x-client", certificate?.subject ?? "nobody"],
      ["x-peer", peer.replace(/\d+$/, "port")],
    ];
    stream.respond(encodeHeaders(fields), true);
  };
  server = new Http2Server({
    budgetOf: () => budget,
    onStream: (stream) => ({
      onData: (part) => taken(stream, part.length),
      onEnd: () => answer(stream),
      onRefused() {},
      onSent() {},
      onReset() {},
    }),
    onRefusal: (reason) => refusals.push(reason),
    ...more,
  });
  return server;
}

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close();
  while (server.connectionCount > 0) await turn();
  await server.stop(0);
  if (budget.held !== 0) throw new Error(`${budget.held} bytes stay held`);
  refusals.length = 0;
});

async function listen(tls: object): Promise<number> {
  return ((await server.listen({ port: 0, host: "127.0.0.1" }, tls)) as AddressInfo).port;
}

async function ask(address: string, options: object = {}): Promise<Record<string, unknown>> {
  const session = connect(address, { ca, ...options });
  sessions.push(session);
  return new Promise((resolve, reject) => {
    session.on("error", reject);
    const stream = session.request({ ":path": "/" });
    stream.on("error", reject);
    stream.on("close", () => reject(new Error("closed")));
    session.on("close", () => reject(new Error("closed")));
    stream.on("response", (got) => resolve({ ...got }));
    stream.resume();
  });
}

describe("behind TLS", () => {
  test("clients that need no certificate are nobody", async () => {
    made();
    const port = await listen(first);
    const answer = await ask(`https://localhost:${port}`);
    expect(answer).toMatchObject({ "x-client": "nobody", "x-peer": "127.0.0.1:port" });
  });

  test("clients are who their certificate says; others do not come in", async () => {
    made();
    const port = await listen({ ...first, ca, requestCert: true, rejectUnauthorized: true });
    expect(await ask(`https://localhost:${port}`, client)).toMatchObject({
      "x-client": "CN=client",
    });
    const refused = /closed|alert|ECONNRESET|certificate/;
    await expect(ask(`https://localhost:${port}`)).rejects.toThrow(refused);
    await expect(ask(`https://localhost:${port}`, pem(stranger))).rejects.toThrow(refused);
  });

  test("new connections get renewed certificates, open ones go on", async () => {
    made();
    const port = await listen(first);
    const names: string[] = [];
    const subjectOf = (session: ClientHttp2Session | undefined): void => {
      const { subject } = (
        session as ClientHttp2Session & { socket: TLSSocket }
      ).socket.getPeerCertificate();
      names.push(String(subject.CN));
    };
    await ask(`https://localhost:${port}`);
    subjectOf(sessions[0]);
    server.renew(second);
    expect(() => server.renew({ ...first, key: second.key })).toThrow(/key/);
    await ask(`https://localhost:${port}`);
    subjectOf(sessions[1]);
    const again = sessions[0]?.request({ ":path": "/" });
    await new Promise((resolve) => again?.on("response", resolve));
    expect(names).toEqual(["first", "second"]);
  });

  test.each([
    [["h2"], "h2"],
    [["http/1.1", "h2"], "h2"],
    [undefined, false],
  ])("ALPN %j is answered %j", async (ALPNProtocols, expected) => {
    made();
    const port = await listen(first);
    const socket = connectTls({
      port,
      ca,
      host: "localhost",
      ...(ALPNProtocols && { ALPNProtocols }),
    });
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    expect(socket.alpnProtocol).toBe(expected);
    socket.destroy();
  });

  test("a client that names no protocol and speaks HTTP/2 is served", async () => {
    made();
    const port = await listen(first);
    const createConnection = () => connectTls({ port, ca, host: "localhost" });
    const answer = await ask(`https://localhost:${port}`, { createConnection });
    expect(answer).toMatchObject({ ":status": 200 });
  });

  test("a client of nothing but HTTP/1.1 is refused, or handed on where somebody is there", async () => {
    made();
    const onlyOld = { ca, host: "localhost", ALPNProtocols: ["http/1.1"] };
    const refused = connectTls({ port: await listen(first), ...onlyOld });
    await expect(new Promise((_, reject) => refused.once("error", reject))).rejects.toThrow(
      /alert/,
    );
    await server.stop(0);
    const got = new Promise<string>((resolve) => {
      made({
        onOtherProtocol: (socket, firstBytes) => {
          socket.destroy();
          resolve(firstBytes.toString());
        },
      });
    });
    const socket = connectTls({ port: await listen(first), ...onlyOld });
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\n\r\n");
    expect(await got).toContain("GET / HTTP/1.1");
    socket.destroy();
  });

  test("a client that is silent in its handshake is cut off, and one that speaks no TLS", async () => {
    made({ limits: { handshakeMs: 100, tickMs: 10 } });
    const port = await listen(first);
    for (const bytes of ["", "GET / HTTP/1.1\r\n\r\n"]) {
      const socket = connectSocket(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write(bytes);
      await new Promise((resolve) => socket.once("close", resolve));
    }
    expect(refusals).toHaveLength(2);
    expect(refusals.every((reason) => reason.startsWith("TLS: "))).toBe(true);
  });
});

test("connections beyond their number are closed before their handshake", async () => {
  made({ limits: { connectionsMax: 1 } });
  const port = await listen(first);
  await ask(`https://localhost:${port}`);
  await expect(ask(`https://localhost:${port}`)).rejects.toThrow(/closed|ECONNRESET|disconnected/);
  expect(refusals).toEqual(["connectionsMax"]);
  expect((await ask(`https://localhost:${port}`).catch(() => undefined)) === undefined).toBe(true);
});

test("on a Unix socket the peer has no address", async () => {
  made();
  const path = join(folder, "socket");
  expect(await server.listen({ path })).toBe(path);
  const answer = await ask("http://localhost", { createConnection: () => connectSocket(path) });
  expect(answer).toMatchObject({ "x-peer": "unix" });
});

test("an address that is taken is an error, and the server goes on", async () => {
  made();
  const port = await listen(first);
  await expect(server.listen({ port, host: "127.0.0.1" })).rejects.toThrow("EADDRINUSE");
  expect(await ask(`https://localhost:${port}`)).toMatchObject({ ":status": 200 });
});
