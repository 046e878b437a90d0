// The healthy client beside the abuse: it appends one event after another and must get its answers,
// in time; at the end everything it stored must be there. Its waiting tells whether the server's
// one thread stalls: time in which the server had no processor at all is not the server's.
import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { AppendResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import type { History } from "../support/history.ts";
import { WireClient } from "../support/wire-client.ts";

const stallMsMax = 1_000;
const pauseMs = 5;
const tickMs = 10;

export class HealthyClient {
  waitMsMax = 0;
  /** What the server's main thread worked during the answer that took the longest of it. */
  workMsMax = 0;
  answers = 0;
  private readonly history: History;
  private readonly pid: number;
  private readonly client: WireClient;
  private stopped = false;
  private readonly running: Promise<void>;

  static async begin(history: History, port: number, pid: number): Promise<HealthyClient> {
    return new HealthyClient(history, await WireClient.open(port), pid);
  }

  private constructor(history: History, client: WireClient, pid: number) {
    this.history = history;
    this.client = client;
    this.pid = pid;
    this.running = this.run();
  }

  async end(): Promise<void> {
    this.stopped = true;
    await this.running;
    this.client.close();
  }

  private async run(): Promise<void> {
    const { history } = this;
    while (!this.stopped) {
      const shape = {
        streams: ["healthy"],
        type: "Beat",
        tags: ["healthy"],
        count: 1,
        bytesMax: 60,
      };
      const version = history.known.get("healthy") ?? 0;
      const op = history.begin(1, shape, { expectations: [{ stream: "healthy", version }] });
      history.sent(op);
      const [began, workedBefore] = [performance.now(), this.workedMs()];
      const { answer, ended } = await this.client.unary("Append", op.request());
      const waitMs = performance.now() - began;
      const workMs = this.workedMs() - workedBefore;
      this.waitMsMax = Math.max(this.waitMsMax, waitMs);
      this.workMsMax = Math.max(this.workMsMax, workMs);
      if (waitMs > stallMsMax && workMs > stallMsMax) {
        history.violate(`an answer took ${Math.round(waitMs)} ms, ${workMs} of them the server's`);
      }
      if (answer === undefined) {
        history.violate(`the healthy client got ${ended.status}: ${ended.message}`);
        return;
      }
      history.acknowledged(op, fromBinary(AppendResponseSchema, answer));
      this.answers++;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** Processor time of the server's main thread. */
  private workedMs(): number {
    try {
      const stat = readFileSync(`/proc/${this.pid}/task/${this.pid}/stat`, "latin1");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return (Number(fields[11]) + Number(fields[12])) * tickMs;
    } catch {
      return 0;
    }
  }
}
