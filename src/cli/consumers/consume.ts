// `annals consume`: a member of a consumer group at a terminal. A delivery is acknowledged after it
// is printed or, with --exec, after a command has processed it.

import { spawn } from "node:child_process";
import { hostname } from "node:os";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { deliveriesOf } from "../../client/group/member.ts";
import type { Held, Membership } from "../../client/group/member-call.ts";
import { defaultRetryPolicy } from "../../client/store/retry.ts";
import { View } from "../../gen/annals/v1/event_pb.js";
import { deliveriesOn, deliveryLine } from "../output/event-table.ts";
import { refuseArray } from "../output/form.ts";
import { connectionOptions, jsonOption, parse, wholeNumber } from "../arguments/options.ts";
import { withSession, type Session } from "../connection/session.ts";
import { print, say, type Terminal } from "../output/terminal.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  permits: { type: "string" },
  limit: { type: "string", short: "n" },
  member: { type: "string" },
  exec: { type: "string" },
} as const;

const permitsDefault = 16;
/** A server that is not up yet is waited for, as after a lost connection. */
const retry = { ...defaultRetryPolicy, attemptsMax: Number.POSITIVE_INFINITY };
const extendMsMin = 1_000;

/** Runs until Ctrl-C, or until the requested number of deliveries. */
export async function consume(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [group = ""] = positionals;
  const { exec, member = `${hostname()}:${process.pid}` } = values;
  const number = (name: "limit" | "permits", absent: number): number => {
    const text = values[name];
    return text === undefined ? absent : wholeNumber(text, `--${name}`, { min: 1 });
  };
  const limit = number("limit", Infinity);
  // Takes no more events than it will process. With --exec it processes one at a time.
  const permits = exec === undefined ? Math.min(number("permits", permitsDefault), limit) : 1;
  const membership = { group, member, permits, view: View.FULL };
  if (limit === Infinity) refuseArray(terminal, "consume without --limit");
  const shown = deliveriesOn(terminal, values.json);
  /**
   * Processes one delivery. Returns undefined if that succeeded, otherwise the reason of the
   * failure.
   */
  const deal = async (held: Held): Promise<string | undefined> => {
    if (exec !== undefined) return runOver(held, exec, terminal);
    await print(terminal.output, shown.text([held.delivery]));
    return undefined;
  };
  await withSession(values, terminal, (session) =>
    work(session, terminal, membership, limit, deal),
  );
  if (exec === undefined) await print(terminal.output, shown.end());
  return 0;
}

async function work(
  { groups: rpc, signal }: Session,
  terminal: Terminal,
  membership: Membership,
  limit: number,
  deal: (held: Held) => Promise<string | undefined>,
): Promise<void> {
  const tell = (text: string) => say(terminal.errors, text).catch(() => {});
  const answers = new Set<Promise<void>>();
  const settled = () => Promise.all(answers);
  const onInterruption = ({ error, failures }: { error: unknown; failures: number }) => {
    if (failures === 1) void tell(`${(error as Error).message}; joining again`);
  };
  const leaving = { signal, settled };
  let count = 0;
  for await (const held of deliveriesOf({ rpc, membership, retry, leaving, onInterruption })) {
    const failed = await deal(held);
    const at = `position ${held.delivery.event?.position}`;
    if (failed !== undefined) await tell(`${at}: ${failed}; it will be delivered again or parked`);
    const answer = failed === undefined ? held.ack() : held.nack(failed, undefined);
    const told = answer.catch((error: unknown) => tell(`${at}: ${(error as Error).message}`));
    answers.add(told);
    void told.finally(() => answers.delete(told));
    count += 1;
    if (count >= limit) break;
  }
  await settled();
  signal.throwIfAborted();
}

/** Runs a command with the delivery as one line on its standard input. */
async function runOver(
  held: Held,
  command: string,
  terminal: Terminal,
): Promise<string | undefined> {
  const child = spawn(command, { shell: true, stdio: ["pipe", "pipe", "pipe"] });
  let lastWords = "";
  child.stdout.on("data", (chunk: Buffer) => void terminal.output.write(chunk));
  child.stderr.on("data", (chunk: Buffer) => {
    lastWords = (lastWords + chunk.toString()).slice(-1_024);
    terminal.errors.write(chunk);
  });
  // A command may ignore its input and close it early.
  child.stdin.on("error", () => {});
  child.stdin.end(deliveryLine(held.delivery));
  const { leaseUntil } = held.delivery;
  const leftMs = leaseUntil === undefined ? 0 : timestampMs(leaseUntil) - Date.now();
  const extending = setInterval(() => held.extend(undefined), Math.max(extendMsMin, leftMs / 3));
  try {
    return await new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("close", (code, signal) => {
        const how = `ended with ${code ?? signal}`;
        resolve(code === 0 ? undefined : lastWords.trim() || how);
      });
    });
  } finally {
    clearInterval(extending);
  }
}
