// The syscalls campaign: a scripted workload, run again for every call that it makes on the
// store's files. Each of them is once the last one before a kill, once an error, and once an error
// from then on. Afterwards the server is started again without faults and must have everything it
// told anyone.
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { seededRandom } from "../../support/seeded.ts";
import { Crowd, type CrowdSize } from "../support/crowd.ts";
import { History } from "../support/history.ts";
import { canRun, scratchFolder, ServerProcess, warmUp } from "../support/server-process.ts";
import { runScript } from "./script.ts";

/** Calls that change files, or make them known. */
const traced = [
  "openat",
  "write",
  "pwrite64",
  "fdatasync",
  "fsync",
  "rename",
  "unlink",
  "ftruncate",
];
/** Calls that fail for want of space as well. */
const growing = new Set(["openat", "write", "pwrite64", "rename"]);
/** LevelDB numbers its files on, and more of them after each recovery. */
const fileNumbersMax = 60;
const nobody: CrowdSize = {
  pipes: 0,
  window: 1,
  appendEventsMax: 1,
  eventBytesMax: 0,
  contenders: 0,
  readers: 0,
};

export interface SyscallsOptions extends CampaignOptions {
  /** At most so many points, chosen by the seed. Absent: all. */
  readonly sampleMax?: number;
}

/** One fault at the Nth call of its kind on the store's files, counted in each thread. */
interface Point {
  readonly call: string;
  readonly at: number;
  readonly fault: "signal=SIGKILL" | "error=EIO" | "error=ENOSPC";
  readonly forEver: boolean;
}

export function cannotTrace(): string | undefined {
  if (process.platform !== "linux") return "system calls are traced on Linux only";
  if (canRun("strace", "-f", "-qq", "-e", "inject=getpid:error=EIO", "-o", "/dev/null", "true")) {
    return undefined;
  }
  return "strace is not there, or may not trace";
}

export async function syscalls(options: SyscallsOptions): Promise<CampaignResult> {
  const reason = cannotTrace();
  if (reason !== undefined) throw new Error(reason);
  const { seed, secondsMax = Infinity, sampleMax = Infinity, report } = options;
  const until = performance.now() + secondsMax * 1_000;
  await warmUp();
  const violations: string[] = [];
  const reference = await oneRun(seed, undefined);
  violations.push(...reference.violations.map((each) => `without a fault: ${each}`));
  const points = chosen(pointsOf(reference), seededRandom(seed), sampleMax);
  const counts: Record<string, number> = {};
  let [cycles, events, hits, refusals] = [0, 0, 0, 0];
  for (const point of points) {
    if (performance.now() > until) break;
    const run = await oneRun(seed + cycles, point);
    cycles++;
    events += run.events;
    if (run.hit) hits++;
    if (run.acknowledgedOps < reference.acknowledgedOps) refusals++;
    const kind = `${point.call} ${point.fault}${point.forEver ? " for ever" : ""}`;
    counts[kind] = (counts[kind] ?? 0) + 1;
    for (const each of run.violations) {
      violations.push(`${kind} at ${point.at}: ${each}`);
      report?.(`VIOLATION ${violations.at(-1)}`);
    }
    if (cycles % 25 === 0)
      report?.(`${cycles} of ${points.length}, ${violations.length} violations`);
  }
  const detail = { points: points.length, hits, disturbed: refusals, counts };
  // Faults that never disturbed anything would prove nothing.
  return { cycles, events, violations, control: refusals > 0, detail };
}

interface RunResult {
  readonly folder: string;
  readonly trace: string;
  readonly events: number;
  readonly acknowledgedOps: number;
  readonly hit: boolean;
  readonly violations: readonly string[];
}

async function oneRun(seed: number, point: Point | undefined): Promise<RunResult> {
  const base = scratchFolder("syscalls");
  const folder = join(base, "store");
  const output = join(base, "trace");
  const history = new History(seed);
  const crowd = new Crowd(history, seededRandom(seed), nobody);
  const under = ["strace", "-f", "-qq", "-y", "--seccomp-bpf", "-s", "0", "-o", output];
  under.push("-e", `trace=${point?.call ?? traced.join()}`, "-e", "signal=none");
  if (point !== undefined) {
    const when = `${point.at}${point.forEver ? "+" : ""}`;
    under.push("-e", `inject=${point.call}:${point.fault}:when=${when}`);
    // A socket or an event of the runtime's own is no file of the store.
    for (const path of storePaths(folder)) under.push("-P", path);
  }
  try {
    const server = await ServerProcess.start({
      folder,
      under,
      environment: { UV_THREADPOOL_SIZE: "1" },
    });
    const unsettled = server.serves ? await runScript(history, server.port) : [];
    await endTraced(server);
    const { signal } = await server.exited;
    const again = await ServerProcess.start({ folder });
    if (again.serves) {
      await runScript(history, again.port, unsettled);
      await crowd.finish(again.port);
      const { code } = await again.stop();
      if (code !== 0) history.violate(`it stopped with ${code}: ${again.log}`);
    } else history.violate(`it does not start afterwards: ${again.log}`);
    const trace = readFileSync(output, "latin1");
    const lines = trace.split("\n").filter((line) => line.includes(folder));
    return {
      folder,
      trace,
      events: history.acknowledgedEvents,
      acknowledgedOps: history.acknowledgedOps - unsettled.length,
      hit: signal === "SIGKILL" || lines.some((line) => line.includes("INJECTED")),
      violations: history.violations,
    };
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

/** A signal to strace would not reach the server: it has to be found. */
async function endTraced(server: ServerProcess): Promise<void> {
  const pid = server.process.pid ?? 0;
  const children = `/proc/${pid}/task/${pid}/children`;
  try {
    for (const child of readFileSync(children, "latin1").trim().split(" ")) {
      if (child !== "") process.kill(Number(child), "SIGTERM");
    }
  } catch {
    // It is gone.
  }
  const overdue = setTimeout(() => {
    try {
      for (const child of readFileSync(children, "latin1").trim().split(" ")) {
        if (child !== "") process.kill(Number(child), "SIGKILL");
      }
    } catch {
      server.process.kill("SIGKILL");
    }
  }, 12_000);
  await server.exited;
  clearTimeout(overdue);
}

/** In quotes as an argument, in angle brackets as what a descriptor stands for. */
const pathsIn = /(?<=["<])\/[^">]+(?=[">])/g;

/** Everything a store's folder may hold, but for its lock, whose name is drawn anew each time. */
function storePaths(folder: string): string[] {
  const log = join(folder, "log");
  const named = ["CURRENT", "LOCK", "LOG", "LOG.old"].map((name) => join(log, name));
  for (let i = 0; i <= fileNumbersMax; i++) {
    const number = String(i).padStart(6, "0");
    named.push(join(log, `MANIFEST-${number}`));
    for (const end of ["log", "ldb", "dbtmp"]) named.push(join(log, `${number}.${end}`));
  }
  return [
    folder,
    log,
    ...["IDENTITY", "IDENTITY.new", "MARK"].map((n) => join(folder, n)),
    ...named,
  ];
}

/** Every call on the store's files, by its number among its thread's calls of that kind. */
function pointsOf({ trace, folder }: RunResult): Point[] {
  const counts = new Map<string, number>();
  const found = new Map<string, { call: string; at: number }>();
  const paths = new Set(storePaths(folder));
  for (const line of trace.split("\n")) {
    const named = line.match(pathsIn) ?? [];
    if (!named.some((path) => paths.has(path))) continue;
    const parsed = /^(\d+) +(\w+)\(/.exec(line);
    const [, pid = "", call = ""] = parsed ?? [];
    if (!traced.includes(call)) continue;
    const at = (counts.get(`${pid} ${call}`) ?? 0) + 1;
    counts.set(`${pid} ${call}`, at);
    found.set(`${call} ${at}`, { call, at });
  }
  return [...found.values()].flatMap(({ call, at }): Point[] => [
    { call, at, fault: "signal=SIGKILL", forEver: false },
    { call, at, fault: "error=EIO", forEver: false },
    { call, at, fault: "error=EIO", forEver: true },
    ...(growing.has(call) ? [{ call, at, fault: "error=ENOSPC", forEver: false } as const] : []),
  ]);
}

function chosen(points: Point[], random: () => number, sampleMax: number): Point[] {
  for (let i = 0; i < Math.min(sampleMax, points.length - 1); i++) {
    const other = i + Math.floor(random() * (points.length - i));
    [points[i], points[other]] = [points[other] as Point, points[i] as Point];
  }
  return points.slice(0, sampleMax);
}
