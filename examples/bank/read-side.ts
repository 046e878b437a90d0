// The read side: what the projection has made, over HTTP on the loopback interface.
// `?after=POSITION` waits until the projection has seen that position, so that customers read what
// they just wrote.

import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { DatabaseSync } from "node:sqlite";
import { TimedOutError, type RunningProjection } from "../../src/client/sdk.ts";
import { allAccounts, statementOf } from "./balances.ts";

export interface ReadSide {
  readonly url: string;
  close(): Promise<void>;
}

const waitMs = 3_000;
const linesMax = 10;

export async function startReadSide(
  database: DatabaseSync,
  projection: RunningProjection,
): Promise<ReadSide> {
  const server = createServer((request, response) => {
    answer(new URL(request.url ?? "/", "http://bank"), response).catch((error: unknown) => {
      console.error(error);
      send(response, 500, { error: "a fault of ours" });
    });
  });

  async function answer({ pathname, searchParams }: URL, response: ServerResponse): Promise<void> {
    const after = Number(searchParams.get("after") ?? 0);
    if (!Number.isSafeInteger(after) || after < 0) {
      return send(response, 400, { error: "after is no position" });
    }
    try {
      await projection.waitFor(after, { timeoutMs: waitMs });
    } catch (error) {
      if (!(error instanceof TimedOutError)) throw error;
      return send(response, 503, { error: `not there yet: ${projection.status.position}` });
    }
    if (pathname === "/accounts") return send(response, 200, allAccounts(database));
    const [, number] = /^\/accounts\/([^/]+)$/.exec(pathname) ?? [];
    const found = number === undefined ? undefined : statementOf(database, number, linesMax);
    if (found === undefined) return send(response, 404, { error: "no such account" });
    send(response, 200, found);
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
