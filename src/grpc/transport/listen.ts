// Where the server listens, and how it ends: addresses are bound behind the door, and open calls
// get a time of grace before their connections are cut.

import { chmod } from "node:fs/promises";
import { ServerCredentials, type Server } from "@grpc/grpc-js";
import type { Certificates } from "./certificates.ts";
import { allowResets, routeCalls } from "./call-router.ts";
import type { CallEnvironment } from "./call-environment.ts";
import type { BoundServer } from "./bind.ts";
import { clearSocketPath, privately, socketModes, type SocketAccess } from "./unix-socket.ts";

/** Binds a TCP address, with TLS where there are certificates; answers it with the bound port. */
export async function listenOnTcp(
  bound: BoundServer,
  host: string,
  port: number,
  certificates: Certificates | undefined,
  environment: CallEnvironment,
): Promise<string> {
  const credentials = certificates?.credentials ?? ServerCredentials.createInsecure();
  const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const boundPort = await bind(bound.server, `${name}:${port}`, credentials, () => {
    routeCalls(bound, environment);
  });
  return `${name}:${boundPort}`;
}

/** Binds a Unix socket. `path` is absolute. */
export async function listenOnSocket(
  bound: BoundServer,
  path: string,
  access: SocketAccess,
  environment: CallEnvironment,
): Promise<string> {
  const modes = socketModes[access];
  await clearSocketPath(path, modes.folder);
  const credentials = ServerCredentials.createInsecure();
  await privately(() =>
    bind(bound.server, `unix:${path}`, credentials, () => routeCalls(bound, environment)),
  );
  await chmod(path, modes.socket);
  return `unix:${path}`;
}

/** `onBound` is called before any connection can come in. */
function bind(
  server: Server,
  address: string,
  credentials: ServerCredentials,
  onBound: () => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    allowResets(server);
    server.bindAsync(address, credentials, (error, port) => {
      if (error !== null) {
        reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
        return;
      }
      onBound();
      resolve(port);
    });
  });
}

/** Refuses new calls, waits for open ones at most `graceMs`, then cuts their connections. */
export function shutDown({ server }: BoundServer, graceMs: number): Promise<"done" | "cut off"> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => {
      server.forceShutdown();
      resolve("cut off");
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(cut);
      resolve("done");
    });
  });
}
