// `annals serve` as a process: the line it prints when it is ready, its exit codes, its signals.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { hpackOf } from "../../src/http2/hpack-encoder.ts";
import { flag, type } from "../../src/http2/protocol.ts";
import { frame, RawClient } from "../http2/raw-client.ts";
import { Calls, failedOf, nextOf } from "../support/calls.ts";
import { messageFrame, RawConnection } from "../support/raw-connection.ts";
import type { LogLine } from "../support/running-server.ts";

const m = EventStoreService.method;

interface Served {
  readonly child: ChildProcess;
  readonly address: string;
  readonly calls: Calls;
  readonly ended: Promise<Ended>;
  /** Until its log has this message. */
  said(message: string): Promise<void>;
}

interface Ended {
  code: number | null;
  signal: string | null;
  output: string;
  errors: string;
}

let folder: string;
const children: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

function annals(args: string[], environment: Record<string, string> = {}) {
  const env = { PATH: process.env["PATH"] ?? "", ...environment };
  const child = spawn(process.execPath, ["src/main.ts", ...args], { env });
  children.push(child);
  let output = "";
  let errors = "";
  child.stdout.on("data", (data: Buffer) => (output += data.toString()));
  child.stderr.on("data", (data: Buffer) => (errors += data.toString()));
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, output, errors }));
  });
  const ready = new Promise<string>((resolve, reject) => {
    child.stdout.on("data", () => {
      if (output.includes("\n")) resolve(output);
    });
    child.on("close", () => reject(new Error(`ended before it was ready: ${errors}`)));
  });
  ready.catch(() => {});
  const said = async (word: string): Promise<void> => {
    while (!errors.includes(`"message":"${word}"`)) {
      await new Promise((resolve) => child.stderr.once("data", resolve));
    }
  };
  return { child, ended, ready, said };
}

async function serve(args: string[], environment: Record<string, string> = {}): Promise<Served> {
  const { ready, ...process } = annals(["serve", "--port", "0", ...args], environment);
  const [, address = ""] = / serves on ([^\s,]+)/.exec(await ready) ?? [];
  return { ...process, address, calls: new Calls(address) };
}

const logOf = ({ errors }: Ended): LogLine[] =>
  errors
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as LogLine);

describe("annals serve", () => {
  test("prints a line when it is ready, and ends with 0 on SIGTERM, its store closed", async () => {
    const socket = join(folder, "run", "s");
    const server = await serve(["--data", join(folder, "data"), "--unix-socket", socket]);
    await server.calls.unary(m.append, { stream: "a", events: [{ type: "T" }] });
    server.calls.close();
    server.child.kill("SIGTERM");
    const ended = await server.ended;
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.output).toMatch(
      new RegExp(
        `^annals \\d\\S* serves on 127\\.0\\.0\\.1:\\d+ and unix:${socket}, store in .*data\\n$`,
      ),
    );
    expect(logOf(ended).map(({ message }) => message)).toEqual(["serving", "stopping", "stopped"]);
    const again = await serve(["--data", join(folder, "data")]);
    expect((await again.calls.unary(m.getInfo, {})).head).toBe(1n);
    again.calls.close();
    again.child.kill("SIGINT");
    expect((await again.ended).code).toBe(0);
  });

  test("ends its subscriptions on SIGTERM, and does not wait for a client that stays", async () => {
    const server = await serve(["--memory"]);
    const live = server.calls.stream(m.subscribe, {})[Symbol.asyncIterator]();
    await nextOf(live);
    server.child.kill("SIGTERM");
    expect(await failedOf(nextOf(live))).toMatchObject({ code: 14, reason: "STOPPING" });
    expect((await server.ended).code).toBe(0);
    server.calls.close();
  });

  test("ends with 0 after its grace where a client is frozen in the middle of an answer", async () => {
    const server = await serve(["--memory", "--shutdown-grace-seconds", "1"]);
    const value = Buffer.alloc(1024 * 1024);
    const large = { type: "T", payload: { case: "data", value } } as const;
    for (let i = 0; i < 8; i++)
      await server.calls.unary(m.append, { stream: "a", events: [large] });
    const client = new RawClient(Number(server.address.split(":")[1]));
    const head = hpackOf([
      [":method", "POST"],
      [":scheme", "http"],
      [":path", "/annals.v1.EventStoreService/Read"],
      ["content-type", "application/grpc"],
    ]);
    client.send(
      frame(type.headers, flag.endHeaders, 1, head),
      frame(type.data, flag.endStream, 1, messageFrame(Buffer.alloc(0))),
    );
    await client.frame(type.data, 1);
    // It reads nothing any more, neither PING nor GOAWAY.
    client.socket.pause();
    server.child.kill("SIGTERM");
    const ended = await server.ended;
    expect(ended.code).toBe(0);
    expect(logOf(ended).map(({ message }) => message)).toContain("open calls were cut off");
    client.destroy();
    server.calls.close();
  });

  test("is killed by a second signal, whatever it waits for", async () => {
    const server = await serve(["--memory", "--shutdown-grace-seconds", "8"]);
    const value = Buffer.alloc(1024 * 1024);
    const large = { type: "T", payload: { case: "data", value } } as const;
    await server.calls.unary(m.append, { stream: "a", events: [large] });
    const connection = new RawConnection(Number(server.address.split(":")[1]));
    const stuck = connection.request("/annals.v1.EventStoreService/Read");
    stuck.end(messageFrame(Buffer.alloc(0)));
    await new Promise((resolve) => stuck.once("response", resolve));
    server.child.kill("SIGTERM");
    await server.said("stopping");
    server.child.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: null, signal: "SIGKILL" });
    connection.close();
    server.calls.close();
  });

  test("ends on the first signal while a new follower waits for its leader", async () => {
    const nobody = createServer().listen(0, "127.0.0.1");
    await once(nobody, "listening");
    const { port } = nobody.address() as AddressInfo;
    nobody.close();
    const data = join(folder, "copy");
    const follow = ["--data", data, "--port", "0", "--follow", `127.0.0.1:${port}`];
    const waiting = annals(["serve", ...follow]);
    await waiting.said("waiting for the leader");
    waiting.child.kill("SIGTERM");
    const ended = await waiting.ended;
    expect(ended).toMatchObject({ code: 0, signal: null, output: "" });
    const said = logOf(ended).map(({ message }) => message);
    expect(new Set(said)).toEqual(new Set(["waiting for the leader", "stopping", "stopped"]));
    // Nothing of it holds the folder.
    const again = await serve(["--data", data]);
    again.calls.close();
  });

  test("refuses a folder that cannot be made, in one line, instead of trying for ever", async () => {
    const { ended } = annals(["serve", "--port", "0", "--data", "/proc/annals/data"]);
    const { code, errors } = await ended;
    expect(code).toBe(4);
    expect(errors).toContain("its folder cannot be made: ENOENT");
    expect(errors).not.toContain("    at ");
  });

  test("keeps its files to its user, also those that were open to others", async () => {
    const data = join(folder, "private");
    const first = await serve(["--data", data]);
    await first.calls.unary(m.append, { stream: "a", events: [{ type: "T" }] });
    first.calls.close();
    first.child.kill("SIGTERM");
    await first.ended;
    const modesOf = () =>
      ["IDENTITY", "MARK", "log", "log/CURRENT"].map(
        (name) => statSync(join(data, name)).mode & 0o77,
      );
    expect(modesOf()).toEqual([0, 0, 0, 0]);
    for (const name of ["IDENTITY", "log", "log/CURRENT"]) chmodSync(join(data, name), 0o755);
    chmodSync(data, 0o755);
    const again = await serve(["--data", data]);
    again.calls.close();
    again.child.kill("SIGTERM");
    const { errors } = await again.ended;
    expect(modesOf()).toEqual([0, 0, 0, 0]);
    expect(errors).toContain("is open to other users (mode 755); chmod 700 closes it");
  });

  test("does not open a FIFO or a device that lies in its folder", async () => {
    const data = join(folder, "special");
    mkdirSync(data);
    execFileSync("mkfifo", [join(data, "IDENTITY")]);
    const { code, errors } = await annals(["serve", "--port", "0", "--data", data]).ended;
    expect(code).toBe(4);
    expect(errors).toContain("IDENTITY is neither a file nor a folder");
  });

  test("works in a pool of eight threads, unless told otherwise", async () => {
    const poolOf = async (environment: Record<string, string>) => {
      const server = await serve(["--data", join(folder, "data")], environment);
      await server.calls.unary(m.append, { stream: "a", events: [{ type: "T" }] });
      const tasks = `/proc/${server.child.pid}/task`;
      const names = readdirSync(tasks).map((task) =>
        readFileSync(join(tasks, task, "comm"), "utf8"),
      );
      server.calls.close();
      server.child.kill("SIGTERM");
      await server.ended;
      return names.filter((name) => name.startsWith("libuv-worker")).length;
    };
    if (process.platform !== "linux") return;
    expect(await poolOf({})).toBe(8);
    expect(await poolOf({ UV_THREADPOOL_SIZE: "2" })).toBe(2);
  });

  test("refuses a wrong option with 2, before anything is made", async () => {
    const data = join(folder, "data");
    const cases: [string[], Record<string, string>, string][] = [
      [["--prot", "1"], {}, "annals serve: --prot: there is no such option; see --help\n"],
      [
        ["--host", "0.0.0.0"],
        {},
        "annals serve: --host: 0.0.0.0 is reached by other machines; add --allow-remote\n",
      ],
      [
        [],
        { ANNALS_PORT: "many" },
        'annals serve: ANNALS_PORT: is "many", not a whole number from 0 to 65535\n',
      ],
    ];
    for (const [args, environment, message] of cases) {
      const ended = await annals(["serve", "--data", data, ...args], environment).ended;
      expect(ended).toMatchObject({ code: 2, output: "", errors: message });
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test("prints its options, and what is in force, without starting", async () => {
    const file = join(folder, "annals.json");
    writeFileSync(file, JSON.stringify({ "keepalive-time-seconds": 9 }));
    const args = ["serve", "--print-config", "--config", file];
    const printed = await annals(args, { ANNALS_MEMORY: "true" }).ended;
    expect(printed).toMatchObject({ code: 0, errors: "" });
    expect(printed.output).toMatch(/^memory +true +\(environment ANNALS_MEMORY\)$/m);
    expect(printed.output).toMatch(/^keepalive-time-seconds +9 +\(file .*annals\.json\)$/m);
    const help = await annals(["serve", "--help"]).ended;
    expect(help.output).toContain("Usage: annals serve");
    expect(help.code).toBe(0);
  });

  test("ends with 1 and a reason where its address or its store is taken", async () => {
    const data = join(folder, "data");
    const first = await serve(["--data", data]);
    const port = first.address.split(":")[1] ?? "";
    const taken = await annals(["serve", "--memory", "--port", port]).ended;
    expect(taken.code).toBe(1);
    expect(logOf(taken).at(-1)).toMatchObject({
      level: "error",
      message: "not started",
      reason: expect.stringContaining(`another process listens on 127.0.0.1, port ${port}`),
    });
    const locked = await annals(["serve", "--data", data, "--port", "0"]).ended;
    expect(locked.code).toBe(1);
    expect(logOf(locked).at(-1)).toMatchObject({ level: "error", message: "not started" });
    first.calls.close();
    first.child.kill("SIGTERM");
    expect((await first.ended).code).toBe(0);
  });

  test("survives a kill with everything it acknowledged, its socket left behind", async () => {
    const args = ["--data", join(folder, "data"), "--unix-socket", join(folder, "run", "s")];
    const server = await serve(args);
    for (let i = 0; i < 20; i++) {
      await server.calls.unary(m.append, { stream: "a", events: [{ type: "T" }] });
    }
    server.child.kill("SIGKILL");
    server.calls.close();
    await server.ended;
    const again = await serve(args);
    expect((await again.calls.unary(m.getInfo, {})).head).toBe(20n);
    again.calls.close();
  });
});
