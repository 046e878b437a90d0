// Where other servers commit as well, the answers of a commit are made while the next one is
// written: not before it is on its way, and not much later whatever happens to it.
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import type { Facts, FactsRequest } from "../../../src/storage/storage.ts";
import { appendOf, openLog, settled } from "../harness.ts";
import { holdCommits } from "./verdicts.ts";

/** A log over a store with other nodes, whose facts wait where `facts` is set. */
function sharedLog() {
  const opened = openLog({ wrap: (own) => Object.assign(own, { release: () => {} }) });
  const { storage } = opened;
  const gate: { facts?: Promise<void> } = {};
  const plain = storage.facts.bind(storage);
  const facts = async (request: FactsRequest): Promise<Facts> => {
    await gate.facts;
    return plain(request);
  };
  Object.assign(storage, { facts });
  return { ...opened, gate, ...holdCommits(storage) };
}

/** Appends, and says in `answered` when it was answered. */
function appending({ log }: Pick<ReturnType<typeof sharedLog>, "log">, answered: string[]) {
  return (name: string): Promise<unknown> =>
    log.append(appendOf({ stream: name })).then(
      () => answered.push(name),
      () => answered.push(`not ${name}`),
    );
}

describe("answers of a commit", () => {
  test("are made once the next commit is on its way", async () => {
    const shared = sharedLog();
    const answered: string[] = [];
    const append = appending(shared, answered);
    const all = [append("a")];
    await settled();
    all.push(append("b"));
    await settled();
    shared.release();
    await settled();
    expect(answered).toEqual(["a"]);
    expect(shared.heldCount()).toBe(1);
    shared.release();
    await Promise.all(all);
    expect(answered).toEqual(["a", "b"]);
  });

  test("do not wait for facts that do not come", async () => {
    const shared = sharedLog();
    const answered: string[] = [];
    const append = appending(shared, answered);
    const first = append("a");
    await settled();
    const second = append("b");
    let come = (): void => {};
    shared.gate.facts = new Promise((resolve) => (come = resolve));
    shared.release();
    await first;
    expect(answered).toEqual(["a"]);
    come();
    await settled();
    shared.release();
    await second;
  });

  test("are made where the next commit fails", async () => {
    const shared = sharedLog();
    const answered: string[] = [];
    const append = appending(shared, answered);
    const first = append("a");
    await settled();
    const second = append("b");
    shared.gate.facts = Promise.reject(new AnnalsError({ reason: "RECOVERING" }, "it is gone"));
    shared.gate.facts.catch(() => {});
    shared.release();
    await Promise.all([first, second]);
    expect(answered).toEqual(["a", "not b"]);
  });
});
