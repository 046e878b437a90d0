// The client beside the greedy ones: it appends 200 bytes every 50 ms, reads a stream of ten
// events, and connects anew now and then. It must be served in time, and is never refused for what
// others hold.
import { readdirSync, readFileSync } from "node:fs";
import { create, toBinary } from "@bufbuild/protobuf";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { WireClient } from "../support/wire-client.ts";

const pauseMs = 50;
const readEvents = 10;
const newcomerPauseMs = 500;

interface Moment {
  readonly atMs: number;
  readonly offMs: number;
  readonly workersOffMs: readonly number[];
}

const appendRequest = toBinary(
  AppendRequestSchema,
  create(AppendRequestSchema, {
    stream: "healthy",
    events: [{ type: "Beat", payload: { case: "data", value: Buffer.alloc(200) } }],
  }),
);
const readRequest = toBinary(
  ReadRequestSchema,
  create(ReadRequestSchema, {
    selection: { case: "stream", value: "ten" },
    limit: BigInt(readEvents),
  }),
);

export class HealthyClient {
  /** What each call took. */
  readonly waitsMs: number[] = [];
  /** Without the time in which server or client waited for a processor. */
  readonly servedMs: number[] = [];
  readonly refusals: string[] = [];
  private readonly port: number;
  private readonly pid: number;
  private readonly workers: readonly number[];
  private client: WireClient;
  private isOver = false;
  private readonly running: Promise<void>[];

  static async begin(port: number, pid: number): Promise<HealthyClient> {
    const client = await WireClient.open(port);
    const append = create(AppendRequestSchema, {
      stream: "ten",
      events: Array.from({ length: readEvents }, () => ({
        type: "Beat",
        payload: { case: "data" as const, value: Buffer.alloc(200) },
      })),
    });
    await client.unary("Append", toBinary(AppendRequestSchema, append));
    return new HealthyClient(port, pid, client);
  }

  private constructor(port: number, pid: number, client: WireClient) {
    this.port = port;
    this.pid = pid;
    this.workers = workersOf(pid);
    this.client = client;
    this.running = [this.appends(), this.reads(), this.newcomers()];
  }

  async end(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.running);
    this.client.close();
  }

  private async appends(): Promise<void> {
    while (!this.isOver) await this.one("Append", appendRequest);
  }

  private async reads(): Promise<void> {
    while (!this.isOver) await this.one("Read", readRequest);
  }

  /** New connections are taken, however many others hold. */
  private async newcomers(): Promise<void> {
    while (!this.isOver) {
      const began = this.started();
      const client = await WireClient.open(this.port).catch(() => undefined);
      const ended = await client?.unary("Read", readRequest);
      client?.close();
      this.took(began);
      const isServed = ended?.ended.status === 0;
      if (!isServed) this.refusals.push(`a new connection: ${ended?.ended.message}`);
      await new Promise((resolve) => setTimeout(resolve, newcomerPauseMs));
    }
  }

  private started(): Moment {
    return { atMs: performance.now(), offMs: this.offMs(), workersOffMs: this.workersOffMs() };
  }

  private took({ atMs, offMs: offBefore, workersOffMs: before }: Moment): void {
    const waitMs = performance.now() - atMs;
    // An append waits for one of them.
    const workers = this.workersOffMs().map((off, i) => off - (before[i] ?? 0));
    const notRunningMs = this.offMs() - offBefore + Math.max(0, ...workers);
    this.waitsMs.push(waitMs);
    this.servedMs.push(Math.max(0, waitMs - notRunningMs));
  }

  private async one(method: "Append" | "Read", request: Uint8Array): Promise<void> {
    const began = this.started();
    const { ended } = await this.client.unary(method, request);
    this.took(began);
    if (ended.status !== 0) {
      this.refusals.push(`${method}: ${ended.status} ${ended.message}`);
      // A connection that was lost is a refusal, and does not hide those behind it.
      if (ended.status === 14) {
        this.client.close();
        this.client = await WireClient.open(this.port).catch(() => this.client);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }

  /** How long the main threads of both sides were ready to run and had no processor. */
  private offMs(): number {
    return offMs(this.pid) + offMs(process.pid);
  }

  /** The same of each other thread of the server. */
  private workersOffMs(): number[] {
    return this.workers.map((thread) => offMs(this.pid, thread));
  }
}

function offMs(pid: number, thread = pid): number {
  try {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1");
    return Number(stat.split(" ")[1]) / 1e6;
  } catch {
    return 0;
  }
}

/** The threads of a process that are not the main one: some of them write and sync. */
function workersOf(pid: number): number[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`).map(Number);
    return threads.filter((thread) => thread !== pid);
  } catch {
    return [];
  }
}

/** Of all but one in a hundred. */
export function percentile99(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
}
