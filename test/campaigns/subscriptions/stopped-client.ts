// A subscriber in a process of its own, by grpc-js, that is stopped (SIGSTOP) and goes on: what a
// debugger, a laptop's lid or a swapping machine do to a client.
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Client, credentials, type ClientReadableStream } from "@grpc/grpc-js";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../../src/gen/annals/v1/read_pb.js";

const path = "/annals.v1.EventStoreService/Subscribe";
const same = (bytes: Buffer): Buffer => bytes;

export class StoppedClient {
  private readonly child: ChildProcess;

  constructor() {
    this.child = fork(fileURLToPath(import.meta.url), ["--as-client"], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
  }

  /** Follows everything on this server, from where it got to. */
  attach(port: number): Promise<void> {
    return this.ask(port);
  }

  async standStill(ms: number): Promise<void> {
    this.child.kill("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, ms));
    this.child.kill("SIGCONT");
  }

  /** What it found wrong. */
  async end(): Promise<readonly string[]> {
    const found = new Promise<readonly string[]>((resolve) => {
      this.child.once("message", (message) => resolve(message as readonly string[]));
      this.child.once("exit", () => resolve(["the client died"]));
    });
    this.child.send("end");
    return found;
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }

  private ask(port: number): Promise<void> {
    return new Promise((resolve) => {
      this.child.once("message", () => resolve());
      this.child.send(port);
    });
  }
}

/** The client's side: positions must rise by one, for ever. */
function beClient(): void {
  const found: string[] = [];
  let last = 0;
  let call: ClientReadableStream<Buffer> | undefined;
  let client: Client | undefined;
  const attach = (port: number): void => {
    call?.cancel();
    client?.close();
    const options = { "grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0 };
    client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), options);
    const request = create(SubscribeRequestSchema, {
      start: { case: "afterPosition", value: BigInt(last) },
    });
    const bytes = Buffer.from(toBinary(SubscribeRequestSchema, request));
    const mine = client.makeServerStreamRequest(path, same, same, bytes);
    call = mine;
    mine.on("error", () => {});
    mine.on("data", (data: Buffer) => {
      const { message } = fromBinary(SubscribeResponseSchema, data);
      if (message.case !== "batch" || call !== mine) return;
      for (const { position } of message.value.events) {
        if (Number(position) !== last + 1) found.push(`${position} follows ${last}`);
        last = Number(position);
      }
    });
  };
  process.on("message", (message) => {
    if (message === "end") process.send?.(found.slice(0, 10));
    else {
      attach(Number(message));
      process.send?.("attached");
    }
  });
}

if (process.argv.includes("--as-client")) beClient();
