// A PostgreSQL server of our own: a folder, a Unix socket in it, no network; killed and started as
// a test wants. Needs the server's programs on the machine, on the path or where Debian puts them.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Client } from "pg";

export interface PostgresServer {
  readonly connectionString: string;
  start(): Promise<void>;
  /** As a crash: it recovers from its log at the next start. */
  crash(): Promise<void>;
  /** All of its processes stop, or go on: what is asked of it is not answered meanwhile. */
  freeze(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Of a standby: it becomes a primary, whatever the other one does. */
  promote(): void;
  remove(): Promise<void>;
}

/** Where the server's programs are; undefined: it is not installed. */
export function postgresPrograms(): string | undefined {
  const path = (process.env["PATH"] ?? "").split(delimiter);
  // The newest first; its own folder before links to it, so that it finds its other files.
  const debian = globSync("/usr/lib/postgresql/*/bin").toSorted().toReversed();
  return [...debian, ...path].find((folder) => existsSync(join(folder, "initdb")));
}

/** PostgreSQL refuses to run as root: it then runs as its own user, or as nobody. */
function userToRunAs(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const user of ["postgres", "nobody"]) {
    try {
      const id = (what: string) => Number(execFileSync("id", [what, user], { stdio: "pipe" }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // There is no such user; perhaps the next.
    }
  }
  throw new Error("PostgreSQL does not run as root, and there is no user to run it as");
}

/** `standbyOf`: a standby of that one, which begins with its data. */
export async function startPostgres(
  programs: string,
  standbyOf?: PostgresServer,
): Promise<PostgresServer> {
  const user = userToRunAs();
  const folder = mkdtempSync(join(tmpdir(), "annals-pg-"));
  const data = join(folder, "data");
  mkdirSync(data, { mode: 0o700 });
  if (user !== undefined) for (const path of [folder, data]) chownSync(path, user.uid, user.gid);
  const options = { ...user, cwd: folder, stdio: "pipe" } as const;
  if (standbyOf === undefined) {
    const init = ["-D", data, "-U", "annals", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"];
    execFileSync(join(programs, "initdb"), init, options);
  } else {
    const copy = ["-D", data, "-d", standbyOf.connectionString, "-R", "-N", "-c", "fast"];
    execFileSync(join(programs, "pg_basebackup"), copy, options);
  }
  const connectionString = `postgresql://annals@/postgres?host=${encodeURIComponent(folder)}`;
  let running: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    const ending = running;
    running = undefined;
    if (ending === undefined) return;
    ending.kill(signal);
    await once(ending, "exit");
  };
  const server: PostgresServer = {
    connectionString,
    async start() {
      const settings = ["-c", "listen_addresses=", "-c", "max_connections=40"];
      const args = ["-D", data, "-k", folder, ...settings];
      running = spawn(join(programs, "postgres"), args, { ...options, stdio: "ignore" });
      await answering(connectionString, running);
    },
    // SIGQUIT ends all of its processes at once, without a checkpoint.
    crash: () => end("SIGQUIT"),
    freeze(signal) {
      if (running?.pid === undefined) return;
      const { pid } = running;
      // Who forks is stopped first, and goes on last.
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
      const all = [pid, ...children.map(Number)];
      for (const each of signal === "SIGSTOP" ? all : all.toReversed()) process.kill(each, signal);
    },
    promote() {
      execFileSync(join(programs, "pg_ctl"), ["promote", "-D", data, "-w"], options);
    },
    async remove() {
      await end("SIGQUIT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

async function answering(connectionString: string, running: ChildProcess): Promise<void> {
  for (;;) {
    const client = new Client({ connectionString });
    client.on("error", () => {});
    try {
      await client.connect();
      return;
    } catch (error) {
      if (running.exitCode !== null) throw new Error("PostgreSQL did not start", { cause: error });
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    } finally {
      await client.end().catch(() => {});
    }
  }
}
