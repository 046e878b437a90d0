// Clients by HTTP/1.1 that close their sending side right behind their request, on the port that
// they share with gRPC: they get the whole answer, and the connection ends.
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { askJson } from "../../support/http.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

/** Sends bytes and the end of the connection together. Returns all that comes back. */
async function answerTo(bytes: string): Promise<string> {
  const [host, port] = server.address.split(":");
  const socket = connect(Number(port), host);
  let text = "";
  socket.on("error", () => {}).on("data", (part: Buffer) => (text += part.toString("latin1")));
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.end(bytes, "latin1");
  await closed;
  return text;
}

function post(path: string, type: string, body: string, length = body.length): string {
  const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: ${type}\r\n`;
  return `${head}content-length: ${length}\r\n\r\n${body}`;
}

const path = "/annals.v1.EventStoreService";
const appended = JSON.stringify({
  stream: "s",
  events: Array.from({ length: 2_000 }, () => ({ type: "Noted", json: { text: "x".repeat(200) } })),
});

test("a probe, an append and a read of many batches are answered whole", async () => {
  const probed = await answerTo("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
  expect(probed).toMatch(/^HTTP\/1.1 200 OK\r\n/);
  const stored = await answerTo(post(`${path}/Append`, "application/json", appended));
  expect(stored).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*"head":"2000"/);
  const read = await answerTo(post(`${path}/Read`, "application/connect+json", "\0\0\0\0\u0002{}"));
  expect(read.match(/"Noted"/g)).toHaveLength(2_000);
  expect(read).toMatch(/\{\}\r\n0\r\n\r\n$/);
});

test("a request that is not whole is not served", async () => {
  const { length } = appended;
  const part = appended.slice(0, length - 1).replace('"stream":"s"', '"stream":"t"');
  expect(await answerTo(post(`${path}/Append`, "application/json", part, length))).toBe("");
  const { status } = await askJson(server.address, "EventStoreService/GetStream", { stream: "t" });
  expect(status).toBe(404);
});
