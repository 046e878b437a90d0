// The campaign against greedy clients: each attack, all of them at once and random mixtures play
// against a server inside the memory that the manifests give it. It must live, stay well below its
// limit, and serve a healthy client beside them. The control is a server whose budget is off: it
// must go beyond the bound. Before them, single requests as large as the limits allow show how long
// one of them occupies the main thread.
import { fork, type ChildProcess } from "node:child_process";
import { rmSync } from "node:fs";
import { setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { SaveSnapshotRequestSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { anonymousBytes, MemoryCgroup } from "../support/memory-cgroup.ts";
import { scratchFolder, ServerProcess, warmUp } from "../support/server-process.ts";
import { WireClient } from "../support/wire-client.ts";
import { seededRandom } from "../../support/seeded.ts";
import { attackNames, largeBytes, largeId, largeKind, largeStream } from "./attacks.ts";
import { longestTurns } from "./long-requests.ts";
import { HealthyClient, percentile99 } from "./healthy-client.ts";

const MiB = 1024 * 1024;
const cgroupBytesMax = 512 * MiB;
const anonymousBytesMax = 400 * MiB;
const healthyWaitMsMax = 250;
const sampleMs = 20;
const largeEvents = 4;
const listedStreams = 5_000;
const preferredPriority = -10;
const controlSecondsMin = 20;
/** No request may keep the main thread from others for longer. */
const turnMsMax = 20;
/** As src/bin.ts starts it. */
const nodeFlags = ["--max-semi-space-size=8", "--initial-old-space-size=64"];
const environment = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "262144",
};

/** What a system allows a process that nobody has allowed more. */
const fewDescriptors = ["sh", "-c", 'ulimit -n 1024 && exec "$@"', "sh"];

const protocols = ["--protocol", "kurrentdb", "--protocol", "umadb"];

const mutant = "greedy: no budget";

interface GreedyOptions extends CampaignOptions {
  /** Of each attack. */
  readonly secondsEach?: number;
  readonly attacks?: readonly string[];
  /** Of the healthy client's calls, the 99th percentile. Infinity judges no time. */
  readonly waitMsMax?: number;
}

interface Round {
  readonly anonymousMiB: number;
  /** Without the time in which the server had no processor, and with it. */
  readonly p99Ms: number;
  readonly waitP99Ms: number;
  readonly calls: number;
}

export async function greedy(options: GreedyOptions): Promise<CampaignResult> {
  const { seed, secondsMax = 600, secondsEach = 10, report } = options;
  const { waitMsMax = healthyWaitMsMax } = options;
  const random = seededRandom(seed);
  const until = performance.now() + secondsMax * 1_000;
  await warmUp({ mutant });
  const violations: string[] = [];
  const rounds: Record<string, Round> = {};
  let calls = 0;
  let cycles = 0;
  const play = async (names: readonly string[]): Promise<void> => {
    const title = names.length === attackNames.length ? "all at once" : names.join(" + ");
    const found = await playOn(undefined, names, secondsEach);
    cycles++;
    calls += found.round.calls;
    rounds[title] = found.round;
    const { p99Ms } = found.round;
    const late = p99Ms > waitMsMax ? [`the healthy client waited ${p99Ms} ms`] : [];
    const faults = [...found.violations, ...late];
    violations.push(...faults.map((each) => `seed ${seed}: ${title}: ${each}`));
    report?.(`${title}: ${JSON.stringify(found.round)} ${faults.join("; ")}`);
  };
  const isJudged = waitMsMax < Infinity;
  const turns = isJudged ? await longestTurns(nodeFlags, report) : {};
  for (const [name, ms] of Object.entries(turns)) {
    if (ms > turnMsMax) violations.push(`${name}: a turn of ${ms} ms`);
  }
  for (const name of options.attacks ?? attackNames) await play([name]);
  await play(attackNames);
  while (performance.now() < until) {
    await play(attackNames.filter(() => random() < 0.3));
  }
  // It ends with the server; on a busy machine, the attack begins late.
  const controlSeconds = Math.max(2 * secondsEach, controlSecondsMin);
  const control = await playOn(mutant, ["gzip without end"], controlSeconds);
  const isBeyond = control.isGone || control.round.anonymousMiB > anonymousBytesMax / MiB;
  return { cycles, events: calls, violations, control: isBeyond, detail: { rounds, turns } };
}

interface Found {
  readonly round: Round;
  readonly isGone: boolean;
  readonly violations: readonly string[];
}

export async function playOn(
  breakage: string | undefined,
  names: readonly string[],
  seconds: number,
): Promise<Found> {
  const folder = scratchFolder("greedy");
  const cgroup = MemoryCgroup.create(cgroupBytesMax);
  const violations: string[] = [];
  const server = await ServerProcess.start({
    folder,
    flags: ["--free-space-reserve-bytes", "0", ...protocols],
    environment,
    nodeFlags,
    ...(breakage !== undefined && { mutant: breakage }),
    under: [...fewDescriptors, ...(cgroup?.under ?? [])],
    spawned: prefer,
  });
  prefer(process.pid);
  const pid = server.process.pid ?? 0;
  const attackers: ChildProcess[] = [];
  try {
    await prepare(server.port);
    // To start processes keeps this one busy, which is the healthy client, and would count as the
    // server's time.
    for (const name of names) attackers.push(attack(server.port, name));
    const healthy = await HealthyClient.begin(server.port, pid);
    let highest = 0;
    const sampling = setInterval(() => {
      highest = Math.max(highest, anonymousBytes(pid));
    }, sampleMs);
    const over = new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
    await Promise.race([over, server.exited]);
    const isGone = !server.serves;
    for (const attacker of attackers) attacker.kill("SIGKILL");
    await healthy.end();
    clearInterval(sampling);
    const p99Ms = Math.round(percentile99(healthy.servedMs));
    const waitP99Ms = Math.round(percentile99(healthy.waitsMs));
    const anonymousMiB = Math.round(highest / MiB);
    if (isGone) violations.push(`the server is gone: ${server.log.slice(-1_000)}`);
    if (highest > anonymousBytesMax) violations.push(`${anonymousMiB} MiB anonymous`);
    if (!isGone && healthy.refusals.length > 0) {
      const { length } = healthy.refusals;
      violations.push(`the healthy client was refused ${length} times: ${healthy.refusals[0]}`);
    }
    const round = { anonymousMiB, p99Ms, waitP99Ms, calls: healthy.waitsMs.length };
    return { round, isGone, violations };
  } finally {
    for (const attacker of attackers) attacker.kill("SIGKILL");
    await server.kill();
    cgroup?.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Events and a snapshot as large as they may be, and streams to list. */
async function prepare(port: number): Promise<void> {
  const client = await WireClient.open(port);
  const events = Array.from({ length: listedStreams }, (_, i) => {
    return { stream: `listed-${i}`, type: "Small" };
  });
  const small = create(AppendRequestSchema, { events });
  await client.unary("Append", toBinary(AppendRequestSchema, small));
  for (let i = 0; i < largeEvents; i++) {
    const payload = { case: "data" as const, value: Buffer.alloc(largeBytes) };
    const event = { id: i === 0 ? largeId : "", type: "Large", payload };
    const append = create(AppendRequestSchema, { stream: largeStream, events: [event] });
    await client.unary("Append", toBinary(AppendRequestSchema, append));
  }
  const save = create(SaveSnapshotRequestSchema, {
    stream: largeStream,
    kind: largeKind,
    version: 1n,
    state: { case: "data", value: Buffer.alloc(largeBytes) },
  });
  const { ended } = await client.unary("SaveSnapshot", toBinary(SaveSnapshotRequestSchema, save));
  client.close();
  if (ended.status !== 0) throw new Error(`no snapshot: ${ended.message}`);
}

/** What is measured is not how busy the machine is otherwise, where this user may say so. */
function prefer(pid: number): void {
  try {
    setPriority(pid, preferredPriority);
  } catch {
    // The figures without the time in which there was no processor remain.
  }
}

function attack(port: number, name: string): ChildProcess {
  const path = fileURLToPath(new URL("attacks.ts", import.meta.url));
  const child = fork(path, ["--attack", `${port}`, name], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  if (child.pid !== undefined) setPriority(child.pid, 0);
  return child;
}
