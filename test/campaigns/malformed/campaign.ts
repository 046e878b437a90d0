// The malformed-input campaign: mutated messages to every method, lies in the framing, bombs,
// floods of frames, and h2spec where it is at hand. Each input ends in a status or a closed stream;
// the process neither ends nor stalls; a healthy client beside it is served as if nothing happened.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Http2Connection } from "../../../bench/load/http2-connection.ts";
import { framed, MessageReader } from "../../../bench/load/messages.ts";
import { AppendPipeResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { RawConnection } from "../../support/raw-connection.ts";
import { seededRandom } from "../../support/seeded.ts";
import { History } from "../support/history.ts";
import { delimited } from "../support/op.ts";
import { batchOf, recordsOf } from "../support/record.ts";
import { scratchFolder, ServerProcess, warmUp } from "../support/server-process.ts";
import { WireClient } from "../support/wire-client.ts";
import { flood, floodNames, lie } from "./floods.ts";
import { HealthyClient } from "./healthy-client.ts";
import { mutated } from "./mutations.ts";
import { appendRequest, seedRequests, type SeedRequest } from "./requests.ts";

const inputsDefault = 5_000_000;
const callsAtOnce = 48;
const volleyCalls = 2_000;
const pipeMessages = 30_000;
const pipeWindow = 256;
const liesEach = 60;
const roundsPerServer = 40;
const endlessMs = 150;
/** Of a message that is framed as it should be, a fault of the server's own. */
const faults = new Set([2, 13]);
/** Somebody may have put it on the path. */
const conformanceSuite = "h2spec";

export interface MalformedOptions extends CampaignOptions {
  readonly inputsMax?: number;
}

interface Tally {
  inputs: number;
  rounds: number;
  floods: number;
  lies: number;
  healthy: number;
  waitMsMax: number;
  workMsMax: number;
  readonly statuses: Record<string, number>;
  readonly violations: string[];
}

export async function malformed(options: MalformedOptions): Promise<CampaignResult> {
  const { seed, secondsMax = Infinity, inputsMax = inputsDefault, report } = options;
  await warmUp();
  const random = seededRandom(seed);
  const until = performance.now() + secondsMax * 1_000;
  const tally: Tally = {
    inputs: 0,
    rounds: 0,
    floods: 0,
    lies: 0,
    healthy: 0,
    waitMsMax: 0,
    workMsMax: 0,
    statuses: {},
    violations: [],
  };
  while (tally.inputs < inputsMax && performance.now() < until) {
    await oneServer(seed, random, Math.min(inputsMax, tally.inputs + 2_000_000), until, tally);
    const { inputs, floods, healthy, violations } = tally;
    report?.(
      `${inputs} inputs, ${floods} floods, ${healthy} healthy answers, ` +
        `at most ${Math.round(tally.waitMsMax)} ms, ${violations.length} violations`,
    );
  }
  const { inputs, healthy, violations, ...detail } = tally;
  const conformance = await h2spec();
  return {
    cycles: inputs,
    events: healthy,
    violations,
    control: true,
    detail: { ...detail, h2spec: conformance },
  };
}

async function oneServer(
  seed: number,
  random: () => number,
  inputsMax: number,
  until: number,
  tally: Tally,
): Promise<void> {
  const folder = scratchFolder("malformed");
  const server = await ServerProcess.start({ folder });
  const history = new History(seed + tally.inputs);
  const { port } = server;
  try {
    const healthy = await HealthyClient.begin(history, port, server.process.pid ?? 0);
    const seeds = seedRequests(random);
    for (let round = 0; round < roundsPerServer && tally.inputs < inputsMax; round++) {
      if (performance.now() > until || !server.serves || history.violations.length > 0) break;
      await pipeOfMutants(port, random, history, tally);
      await volley(port, seeds, random, history, tally);
      await lies(port, random, tally);
      const name = floodNames[tally.rounds % floodNames.length] as string;
      tally.inputs += await flood(port, name, random);
      tally.floods++;
      tally.rounds++;
    }
    await healthy.end();
    tally.healthy += healthy.answers;
    tally.waitMsMax = Math.max(tally.waitMsMax, healthy.waitMsMax);
    tally.workMsMax = Math.max(tally.workMsMax, healthy.workMsMax);
    if (server.serves) await readHealthy(port, history);
    else history.violate(`the server is gone: ${server.log.slice(-2_000)}`);
    const faultsLogged = server.log.split("\n").filter((line) => line.includes('"level":"error"'));
    for (const line of faultsLogged.slice(0, 3)) history.violate(`logged: ${line.slice(0, 600)}`);
    const { code } = await server.stop();
    if (code !== 0) history.violate(`it stopped with ${code}`);
  } finally {
    await server.kill();
    tally.violations.push(...history.violations.map((each) => `seed ${seed}: ${each}`));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Mutated appends through pipes; a pipe that ends is opened anew. */
async function pipeOfMutants(
  port: number,
  random: () => number,
  history: History,
  tally: Tally,
): Promise<void> {
  const client = await WireClient.open(port);
  const next = (): Buffer => {
    const request = appendRequest(random);
    const whole = Buffer.concat([delimited(0x0a, request.length), request]);
    return mutated(whole, random);
  };
  let left = pipeMessages;
  while (left > 0) {
    let underWay = 1;
    left--;
    const pipe = client.pipe("AppendPipe", next(), (message) => {
      underWay--;
      const { outcome } = fromBinary(AppendPipeResponseSchema, message);
      const code = outcome.case === "failure" ? outcome.value.code : 0;
      count(tally, code);
      if (outcome.case === "failure" && faults.has(code)) {
        history.violate(`a mutated append ends with ${code}: ${outcome.value.message}`);
      }
      send();
    });
    const send = (): void => {
      while (underWay < pipeWindow && left > 0) {
        left--;
        underWay++;
        pipe.send(next());
      }
      if (left === 0 && underWay === 0) pipe.half();
    };
    send();
    const { status, message } = await pipe.ended;
    if (faults.has(status)) history.violate(`a pipe of mutants ended with ${status}: ${message}`);
    if (status === 14) break;
  }
  client.close();
}

function count(tally: Tally, status: number): void {
  tally.inputs++;
  tally.statuses[status] = (tally.statuses[status] ?? 0) + 1;
}

/** Mutated requests to every method, many at a time on one connection. */
async function volley(
  port: number,
  seeds: readonly SeedRequest[],
  random: () => number,
  history: History,
  tally: Tally,
): Promise<void> {
  const connection = await Http2Connection.open("127.0.0.1", port, 1024 * 1024);
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const seed = seeds[Math.floor(random() * seeds.length)] as SeedRequest;
      const bytes = mutated(seed.bytes, random);
      const reader = new MessageReader(() => {});
      const id = connection.call(seed.path, framed(bytes), true, {
        received: (received, from, to) => reader.received(received, from, to),
        ended(status, message) {
          clearTimeout(timer);
          count(tally, status);
          if (faults.has(status)) {
            const text = `${seed.path} ${bytes.toString("hex").slice(0, 2_000)}`;
            history.violate(`${text} ends with ${status}: ${message}`);
          }
          resolve();
        },
      });
      connection.flush();
      // What was understood and has no end is cancelled.
      const timer = setTimeout(
        () => {
          connection.cancel(id);
          connection.flush();
          count(tally, 1);
          resolve();
        },
        endlessMs * (seed.endless ? 1 : 200),
      );
    });
  let left = volleyCalls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: callsAtOnce }, worker));
  connection.close();
}

async function lies(port: number, random: () => number, tally: Tally): Promise<void> {
  const connection = new RawConnection(port);
  for (let i = 0; i < liesEach; i++) {
    count(tally, await lie(connection, appendRequest(random), random));
    tally.lies++;
  }
  connection.close();
}

/** Everything that was acknowledged to the healthy client, in its order. */
async function readHealthy(port: number, history: History): Promise<void> {
  const client = await WireClient.open(port);
  const request = create(ReadRequestSchema, { selection: { case: "stream", value: "healthy" } });
  let version = 0;
  const call = client.stream("Read", toBinary(ReadRequestSchema, request), (message) => {
    const batch = batchOf(message);
    if (batch === undefined) return;
    for (const record of recordsOf(batch)) {
      const seen = history.see("the healthy client's stream", record);
      if (seen?.version !== ++version) history.violate(`version ${seen?.version} for ${version}`);
    }
  });
  await call.ended;
  client.close();
  const known = history.known.get("healthy") ?? 0;
  if (version !== known) history.violate(`the healthy stream has ${version} of ${known} events`);
}

/** The conformance suite for HTTP/2, where somebody has put it on the path. */
async function h2spec(): Promise<string> {
  const folder = scratchFolder("h2spec");
  const server = await ServerProcess.start({ folder });
  const args = ["-h", "127.0.0.1", "-p", String(server.port), "-o", "2", "--path", "/"];
  const { stdout, error } = spawnSync(conformanceSuite, args, {
    encoding: "utf8",
    timeout: 300_000,
  });
  const alive = server.serves;
  await server.kill();
  rmSync(folder, { recursive: true, force: true });
  if (error !== undefined) return "not at hand";
  const totals = stdout.trim().split("\n").at(-1) ?? "";
  return `${totals}; the server ${alive ? "lives" : "IS GONE"}`;
}
