// The conversation of test/clients/wire-conversation.ts, by connect-node or by grpc-js with proto-loader:
// see adapters.mjs.
import { createInterface } from "node:readline/promises";
import { setTimeout as pause } from "node:timers/promises";
import { libraries } from "./adapters.mjs";

const stepMs = 100_000;
const number = (name) => Number(process.env[name]);
const library = libraries[process.argv[2]](process.env.ANNALS_ADDRESS);

const idOf = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

function request(stream, first, sizes, more = {}) {
  const events = sizes.map((size, index) => {
    return { id: idOf(first + index), type: "T", data: Buffer.alloc(size, "a") };
  });
  return { stream, events, ...more };
}

const store = (asked, options = {}) => library.unary("Append", asked, { ms: stepMs, ...options });

async function failure(call) {
  try {
    await call;
  } catch (error) {
    return library.failureOf(error);
  }
  throw new Error("expected a failure");
}

/** Reads up to the end of a call, or until `isLast`; answers the last message. */
async function next(messages, isLast) {
  for (;;) {
    const { done, value } = await messages.next();
    if (done || isLast(value)) return value;
  }
}
const caughtUp = (message) => Boolean(message.caughtUp);
const batch = (message) => Boolean(message.batch);
const never = () => false;

async function read(stream, options = {}) {
  const events = [];
  const { answers } = library.stream("Read", { stream }, { ms: stepMs, ...options });
  await next(answers, (answer) => {
    events.push(...(answer.batch?.events ?? []));
    return false;
  });
  return events;
}

const follow = (asked, ms = stepMs) => library.stream("Subscribe", asked, { ms });

async function subscribers(stream) {
  const { stream: info } = await library.unary("GetStream", { stream }, { ms: stepMs });
  return Number(info.subscriberCount ?? 0);
}

async function untilForgotten(stream) {
  while ((await subscribers(stream)) !== 0) await pause(10);
  return 0;
}

const steps = {
  async conflict() {
    const { lastPosition } = await store(request("wire-1", 1, [1], { expectedVersion: 0 }));
    const { code, reason, actual } = await failure(
      store(request("wire-1", 2, [1], { expectedVersion: 0 })),
    );
    return { position: Number(lastPosition), conflict: { code, reason, actual } };
  },
  async retry() {
    const answer = await store(request("wire-1", 1, [1], { expectedVersion: 0 }));
    return { position: Number(answer.lastPosition), deduplicated: answer.deduplicated };
  },
  async unknown() {
    return { code: (await failure(library.unary("Nothing", {}, { ms: stepMs }))).code };
  },
  async gzip() {
    const { lastPosition } = await store(request("gzip", 10, [1024 * 1024]), { isGzip: true });
    const [event] = await read("gzip", { isGzip: true });
    return { position: Number(lastPosition), bytes: event.data.length };
  },
  async large() {
    await store(request("large", 20, [3_140_000, 940_000]));
    return { lengths: (await read("large")).map(({ data }) => data.length) };
  },
  async early() {
    const { code } = await failure(store(request("early", 30, [9 * 1024 * 1024])));
    const { lastPosition } = await store(request("early", 31, [1]));
    return { code, position: Number(lastPosition) };
  },
  async pipe() {
    const { answers, send, end } = library.pipe("AppendPipe", { ms: stepMs });
    for (const [index, expectedVersion] of [0, 0, 1].entries()) {
      send({ append: request("wire-2", 40 + index, [1], { expectedVersion }) });
    }
    end();
    const codes = [];
    await next(answers, (answer) => {
      codes.push(answer.failure?.code ?? 0);
      return false;
    });
    return { codes, end: 0 };
  },
  async turns() {
    const { answers, send, cancel } = library.pipe("AppendPipe", { ms: stepMs });
    let count = 0;
    for (let turn = 0; turn < 20; turn++) {
      send({ append: request("wire-2", 50 + turn, [1]) });
      if (!(await answers.next()).done) count++;
    }
    cancel();
    return { answers: count, end: (await failure(answers.next())).code };
  },
  async live() {
    const { answers, cancel } = follow({ stream: "wire-3" });
    await next(answers, caughtUp);
    await store(request("wire-3", 80, [1]));
    const message = await next(answers, batch);
    const before = await subscribers("wire-3");
    cancel();
    const { code } = await failure(next(answers, never));
    const after = await untilForgotten("wire-3");
    return { live: message.batch.events.length, end: code, subscribers: [before, after] };
  },
  async deadline() {
    return { end: (await failure(next(follow({ stream: "wire-4" }, 1_000).answers, never))).code };
  },
  async metadata() {
    const codeWith = async (fields) => {
      const metadata = Array.from({ length: fields }, (_, i) => [`x-${i}`, "m".repeat(1_000)]);
      try {
        await library.unary("GetInfo", {}, { ms: stepMs, metadata });
        return 0;
      } catch (error) {
        console.error(error);
        return library.failureOf(error).code;
      }
    };
    return {
      taken: await codeWith(number("WIRE_FIELDS_TAKEN")),
      refused: await codeWith(number("WIRE_FIELDS_REFUSED")),
      after: await codeWith(0),
    };
  },
  async streams() {
    const all = Array.from({ length: number("WIRE_STREAMS") }, () => follow({ stream: "wire-5" }));
    for (const { answers } of all) await next(answers, caughtUp);
    await store(request("wire-5", 90, [1]));
    let live = 0;
    for (const { answers } of all) live += (await next(answers, batch)).batch.events.length;
    await Promise.all(
      all.map(({ answers, cancel }) => {
        cancel();
        return failure(answers.next());
      }),
    );
    return { open: all.length, live, left: await untilForgotten("wire-5") };
  },
  async restart() {
    const { answers } = follow({ fromEnd: {} });
    await next(answers, caughtUp);
    const ended = failure(next(answers, never));
    let isBack = false;
    const input = createInterface({ input: process.stdin });
    input.once("line", () => {
      isBack = true;
      process.stdin.destroy();
    });
    console.log("RESTART");
    const others = new Set();
    let acknowledged = 0;
    for (let after = 0; after < 20;) {
      try {
        await store(request("wire-6", 1_000 + acknowledged, [1]), { ms: 20_000 });
        acknowledged++;
        if (isBack) after++;
      } catch (error) {
        const { code } = library.failureOf(error);
        if (code !== 14) others.add(code);
        await pause(20);
      }
    }
    const ids = (await read("wire-6")).map(({ id }) => id);
    const isWhole = ids.length === acknowledged && ids.every((id, i) => id === idOf(1_000 + i));
    const { code, reason } = await ended;
    return { end: { code, reason }, others: [...others].toSorted((a, b) => a - b), isWhole };
  },
};

for (const [step, run] of Object.entries(steps)) {
  console.log(JSON.stringify({ step, ok: true, ...(await run()) }));
}
library.close();
