// TLS and mutual TLS by certificate files, and their renewal while the server runs.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type PeerCertificate, type SecureVersion } from "node:tls";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { loadCertificates } from "../../src/sockets/certificates.ts";
import { Calls, failedOf } from "../support/calls.ts";
import { makeAuthority, sign, type Authority } from "../support/certificates.ts";
import { configOf, recordingLogger, startTestServer } from "../support/running-server.ts";

const { getInfo } = EventStoreService.method;

let folder: string;
let ours: Authority;
let theirs: Authority;
let server: Authority;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
  ours = makeAuthority(folder, "ours");
  theirs = makeAuthority(folder, "theirs");
  server = sign(folder, "server", ours);
});
afterAll(() => rmSync(folder, { recursive: true }));

const pem = (path: string): Buffer => readFileSync(path);
const tlsFlags = (identity: Authority): string[] => [
  "--tls-cert",
  identity.cert,
  "--tls-key",
  identity.key,
];

function trusting(authority: Authority, identity?: Authority) {
  const own = identity === undefined ? [] : ([pem(identity.key), pem(identity.cert)] as const);
  return credentials.createSsl(pem(authority.cert), ...own);
}

async function outcome(address: string, creds: ReturnType<typeof trusting>): Promise<string> {
  const calls = new Calls(address, creds);
  try {
    await calls.unary(getInfo, {}, { deadline: Date.now() + 5_000 });
    return "served";
  } catch (error) {
    expect((await failedOf(Promise.reject(error as Error))).code).toBe(14);
    return "refused";
  } finally {
    calls.close();
  }
}

describe("TLS", () => {
  test("serves clients that trust the certificate, and none without TLS", async () => {
    const running = await startTestServer(tlsFlags(server));
    expect(await outcome(running.address, trusting(ours))).toBe("served");
    expect(await outcome(running.address, trusting(theirs))).toBe("refused");
    expect(await outcome(running.address, credentials.createInsecure() as never)).toBe("refused");
    await running.stop();
  });

  test("on an address that others reach is still open, which is said", async () => {
    const flags = [...tlsFlags(server), "--host", "0.0.0.0", "--allow-remote"];
    const running = await startTestServer([...flags, "--no-auth"]);
    expect(running.lines.find(({ level }) => level === "warn")?.message).toContain(
      "without a password",
    );
    await running.stop();
    const closed = await startTestServer([...flags, "--tls-client-ca", ours.cert]);
    expect(closed.lines.filter(({ level }) => level === "warn")).toEqual([]);
    await closed.stop();
  });
});

describe("versions and suites", () => {
  /** What a client of at most this version, with these suites, agrees on; "": nothing. */
  function agreed(address: string, maxVersion: SecureVersion, ciphers?: string): Promise<string> {
    return new Promise((resolve) => {
      const port = Number(address.split(":")[1]);
      const options = { host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["h2"] };
      const socket = connect({ ...options, maxVersion, ...(ciphers !== undefined && { ciphers }) });
      const answer = (said: string): void => {
        socket.destroy();
        resolve(said);
      };
      socket.on("secureConnect", () => answer(socket.getProtocol() ?? ""));
      socket.on("error", () => answer(""));
    });
  }

  test("of TLS 1.2, only suites that authenticate what they encrypt", async () => {
    const running = await startTestServer(tlsFlags(server));
    expect(await agreed(running.address, "TLSv1.3")).toBe("TLSv1.3");
    expect(await agreed(running.address, "TLSv1.2")).toBe("TLSv1.2");
    const cbc = "ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256:AES128-SHA";
    expect(await agreed(running.address, "TLSv1.2", cbc)).toBe("");
    await running.stop();
  });

  test("of 1.3 alone, where the operator says so", async () => {
    const running = await startTestServer([...tlsFlags(server), "--tls-min-version", "1.3"]);
    expect(await agreed(running.address, "TLSv1.3")).toBe("TLSv1.3");
    expect(await agreed(running.address, "TLSv1.2")).toBe("");
    await running.stop();
  });
});

describe("mutual TLS", () => {
  test("serves clients of its authority only", async () => {
    const running = await startTestServer([...tlsFlags(server), "--tls-client-ca", ours.cert]);
    const client = sign(folder, "client", ours);
    const stranger = sign(folder, "stranger", theirs);
    expect(await outcome(running.address, trusting(ours, client))).toBe("served");
    expect(await outcome(running.address, trusting(ours, stranger))).toBe("refused");
    expect(await outcome(running.address, trusting(ours))).toBe("refused");
    await running.stop();
  });

  test("does not bar the Unix socket, which the folder guards", async () => {
    const socket = join(folder, "run", "s");
    const flags = [...tlsFlags(server), "--tls-client-ca", ours.cert, "--unix-socket", socket];
    const running = await startTestServer(flags);
    expect(await outcome(`unix:${socket}`, credentials.createInsecure() as never)).toBe("served");
    await running.stop();
  });
});

describe("certificates that are renewed", () => {
  test("serve new connections once they fit together, and not before", async () => {
    const identity = { cert: join(folder, "live.crt"), key: join(folder, "live.key") };
    const use = (one: Authority): void => {
      copyFileSync(one.cert, identity.cert);
      copyFileSync(one.key, identity.key);
    };
    use(server);
    const { logger, lines } = recordingLogger();
    const certificates = await loadCertificates(
      { ...identity, clientCa: undefined },
      "1.2",
      logger,
    );
    const contexts: unknown[] = [];
    certificates.onRenewed((tls) => contexts.push(tls));
    await certificates.look();
    expect(contexts).toEqual([]);

    const renewed = sign(folder, "renewed", ours);
    copyFileSync(renewed.cert, identity.cert);
    await certificates.look();
    await certificates.look();
    expect(contexts).toEqual([]);
    expect(lines).toMatchObject([
      { level: "error", message: expect.stringContaining("the one in use is kept") as string },
    ]);

    use(renewed);
    await certificates.look();
    expect(contexts).toMatchObject([{ cert: pem(renewed.cert), key: pem(renewed.key) }]);
    expect(lines.at(-1)).toMatchObject({ level: "info", subject: "CN=renewed" });

    rmSync(identity.key);
    await certificates.look();
    writeFileSync(identity.cert, "rubbish");
    await certificates.look();
    expect(contexts).toHaveLength(1);
    expect(certificates.tls).toMatchObject({
      cert: pem(renewed.cert),
    });
    certificates.close();
  });

  test("reach a socket that already listens", async () => {
    const identity = { cert: join(folder, "swap.crt"), key: join(folder, "swap.key") };
    copyFileSync(server.cert, identity.cert);
    copyFileSync(server.key, identity.key);
    const running = await startTestServer(tlsFlags(identity));
    const port = Number(running.address.split(":")[1]);
    expect((await certificateOn(port)).subject.CN).toBe("server");
    const next = sign(folder, "next", ours);
    copyFileSync(next.cert, identity.cert);
    copyFileSync(next.key, identity.key);
    let name: unknown = "server";
    while (name === "server") {
      await new Promise((resolve) => setTimeout(resolve, 100));
      name = (await certificateOn(port)).subject.CN;
    }
    expect(name).toBe("next");
    expect(await outcome(running.address, trusting(ours))).toBe("served");
    await running.stop();
  });

  test("that never fitted keep the server from starting", async () => {
    const flags = ["--memory", "--tls-cert", server.cert, "--tls-key", theirs.key, "--port", "0"];
    const { logger } = recordingLogger();
    const { startServer } = await import("../../src/server.ts");
    await expect(startServer(configOf(...flags), logger)).rejects.toThrow("do not fit together");
    const missing = configOf("--memory", "--tls-cert", "/nope", "--tls-key", theirs.key);
    await expect(startServer(missing, logger)).rejects.toThrow("/nope");
  });
});

function certificateOn(port: number): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    const options = {
      port,
      host: "127.0.0.1",
      ca: pem(ours.cert),
      servername: "localhost",
      ALPNProtocols: ["h2"],
    };
    const socket = connect(options, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.on("error", reject);
  });
}
