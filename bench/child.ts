// A child process of the benchmark that exchanges messages with it: one request, one answer. The
// benchmark ends it by its process id. It ends by itself if the benchmark ends.

import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Child<Request, Answer> {
  readonly pid: number;
  /** The message it sent when it was ready. */
  readonly greeting: unknown;
  ask(request: Request): Promise<Answer>;
  stop(): Promise<void>;
}

/** `module` is a file beside this one. Rejects if the process ends before it answers. */
export async function startChild<Request extends object, Answer>(
  module: string,
): Promise<Child<Request, Answer>> {
  const path = fileURLToPath(new URL(module, import.meta.url));
  const child = fork(path, {
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const greeting = await answerOf(child, module);
  return {
    pid: child.pid ?? 0,
    greeting,
    async ask(request) {
      const answer = answerOf(child, module);
      child.send(request);
      return (await answer) as Answer;
    },
    stop: () => ended(child),
  };
}

function answerOf(child: ChildProcess, name: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: { error?: string }) => {
      child.off("exit", onExit);
      if (message.error === undefined) resolve(message);
      else reject(new Error(`${name}: ${message.error}`));
    };
    const onExit = (code: number | null, signal: string | null) => {
      child.off("message", onMessage);
      reject(new Error(`${name} ended with ${signal ?? code}`));
    };
    child.once("message", onMessage);
    child.once("exit", onExit);
  });
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("exit", () => resolve());
    child.disconnect();
  });
}
