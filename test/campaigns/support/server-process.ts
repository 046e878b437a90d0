// A server under test as a separate process: the shipped entry point, or one that a campaign has
// broken (broken-server.ts). It is stopped, killed and started again on the same folder.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const repository = resolve(import.meta.dirname, "../../..");
const shippedEntry = join(repository, "src/main.ts");
const brokenEntry = new URL("broken-server.ts", import.meta.url).pathname;
/** Without this cache, each start spends half a second on stripping types. */
const compileCache = join(tmpdir(), "annals-campaign-compile-cache");
const startMsMax = 60_000;
const logCharsMax = 20_000;

/** Faults by which a server is broken on purpose. None: the shipped entry point. */
export interface Breakage {
  /** See failpoints.ts. */
  readonly failpoint?: string;
  /** The name of a mutant in mutants.ts. */
  readonly mutant?: string;
}

export interface ServerOptions extends Breakage {
  readonly folder: string;
  readonly flags?: readonly string[];
  /** Absent: any. */
  readonly port?: number;
  /** Of node, before the program. */
  readonly nodeFlags?: readonly string[];
  /** The command that runs the server instead of node: `strace ...`. */
  readonly under?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Called with the process id before the server serves. */
  readonly spawned?: (pid: number) => void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class ServerProcess {
  readonly process: ChildProcess;
  readonly exited: Promise<Exit>;
  /** 0 until it serves. */
  port = 0;
  log = "";
  private said = "";
  private readonly listening = new Set<() => void>();

  private constructor(child: ChildProcess) {
    this.process = child;
    const orphaned = (): boolean => child.kill("SIGKILL");
    process.once("exit", orphaned);
    this.exited = new Promise((settle) => {
      child.once("close", (code, signal) => {
        process.off("exit", orphaned);
        settle({ code, signal });
      });
    });
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.said += text;
      for (const look of this.listening) look();
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.log = (this.log + text).slice(-logCharsMax);
    });
  }

  /** Resolves when it serves, or has ended without serving. */
  static async start(options: ServerOptions): Promise<ServerProcess> {
    const { folder, failpoint, mutant, under = [], nodeFlags = [], environment = {} } = options;
    const broken = failpoint !== undefined || mutant !== undefined;
    const flags = options.flags ?? ["--free-space-reserve-bytes", "0"];
    const args = ["serve", "--data", folder, "--port", `${options.port ?? 0}`, ...flags];
    const [command = "", ...rest] = [
      ...under,
      process.execPath,
      ...nodeFlags,
      broken ? brokenEntry : shippedEntry,
      ...args,
    ];
    const child = spawn(command, rest, {
      cwd: repository,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: compileCache,
        ANNALS_LOG_LEVEL: "warn",
        ...(failpoint !== undefined && { CAMPAIGN_FAILPOINT: failpoint }),
        ...(mutant !== undefined && { CAMPAIGN_MUTANT: mutant }),
        ...environment,
      },
    });
    const server = new ServerProcess(child);
    if (child.pid !== undefined) options.spawned?.(child.pid);
    const overdue = setTimeout(() => child.kill("SIGKILL"), startMsMax);
    await server.says(/serves on [^ ]*:\d+/);
    clearTimeout(overdue);
    server.port = Number(/serves on [^ ]*:(\d+)/.exec(server.said)?.[1] ?? 0);
    // A mutant that cannot be applied any more is no server.
    if (server.log.includes("not once in")) throw new Error(server.log);
    return server;
  }

  get serves(): boolean {
    return this.port > 0 && this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Resolves when it has printed this, or has ended. */
  async says(what: string | RegExp): Promise<void> {
    const heard = new Promise<void>((settle) => {
      const look = (): void => {
        if (this.said.search(what) < 0) return;
        this.listening.delete(look);
        settle();
      };
      this.listening.add(look);
      look();
    });
    await Promise.race([heard, this.exited]);
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): Promise<Exit> {
    this.process.kill(signal);
    return this.exited;
  }

  /** Stops by SIGTERM, and kills it if that takes longer than promised. */
  async stop(): Promise<Exit> {
    const overdue = setTimeout(() => this.process.kill("SIGKILL"), 12_000);
    const exit = await this.kill("SIGTERM");
    clearTimeout(overdue);
    return exit;
  }
}

/** A first clean run fills the compile cache, which a killed process never writes. */
export async function warmUp(...breakages: readonly Breakage[]): Promise<void> {
  for (const breakage of [{}, ...breakages]) {
    const folder = scratchFolder("warm-up");
    try {
      await (await ServerProcess.start({ folder, ...breakage })).stop();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

export function scratchFolder(name: string, base = tmpdir()): string {
  return mkdtempSync(join(base, `annals-${name}-`));
}

/** Whether a command exists and works. */
export function canRun(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}
