// Names of consumer groups for persistent subscriptions with any name.
import fc from "fast-check";
import { expect, test } from "vitest";
import { append, named, startKurrent } from "../kurrent-client.ts";
import { p, Reader, types, usual } from "./persistent-client.ts";
import {
  groupNameOf,
  groupPrefixOf,
} from "../../../../src/protocols/kurrentdb/persistent/group-name.ts";

test("a name that fits is that of stream and group", () => {
  expect(groupNameOf("orders-1", "mail")).toBe("orders-1::mail");
  expect(groupNameOf("$all", "größe")).toBe("$all::größe");
});

const control = /\p{Cc}/u;

test.each([
  ["orders-1", "x".repeat(300)],
  ["orders-1", "a\nb\u0000"],
  [`orders-${"ü".repeat(240)}`, "g"],
  ["orders-1", `a~${"0".repeat(40)}`],
  ["a", "b::c"],
  ["a:", ":b"],
])("%j, %j: a name that the log takes, with the stream before it", (source, group) => {
  const name = groupNameOf(source, group);
  expect(name).not.toBe(`${source}::${group}`);
  expect(Buffer.byteLength(name)).toBeLessThanOrEqual(256);
  expect(control.test(name) || name.includes("\uFFFD")).toBe(false);
  expect(name.startsWith(groupPrefixOf(source))).toBe(true);
  expect(groupNameOf(source, group)).toBe(name);
});

test("no two subscriptions have one group", () => {
  const part = fc.string({ unit: fc.constantFrom("a", ":", "~", "0", "\n", "ü"), minLength: 1 });
  const long = fc.tuple(part, fc.nat(200)).map(([text, times]) => text.repeat(times + 1));
  const pair = fc.tuple(fc.oneof(part, long), fc.oneof(part, long));
  fc.assert(
    fc.property(pair, pair, ([a, b], [c, d]) => {
      fc.pre((a !== c || b !== d) && b.length < 1_000 && d.length < 1_000);
      expect(groupNameOf(a, b)).not.toBe(groupNameOf(c, d));
    }),
  );
});

test("an empty and a far too long group name are refused", () => {
  expect(() => groupNameOf("a", "")).toThrow("the group name is empty");
  expect(() => groupNameOf("a", "x".repeat(4_097))).toThrow("more than 4096 bytes");
});

test("a subscription with any name is found, listed, consumed and deleted by it", async () => {
  const server = await startKurrent();
  const { calls } = server;
  const groups = ["x".repeat(400), "a\nb", "plain", "b::c"];
  await append(calls, "s", types("A"));
  const streamIdentifier = named("s");
  const from = { revisionOption: { case: "start", value: {} } } as const;
  for (const groupName of groups) {
    const streamOption = { case: "stream", value: { streamIdentifier, ...from } } as const;
    await calls.unary(p.create, { options: { groupName, streamOption, settings: usual } });
    const options = {
      groupName,
      streamOption: { case: "streamIdentifier", value: streamIdentifier },
    } as const;
    const { subscriptionInfo } = await calls.unary(p.getInfo, { options });
    expect(subscriptionInfo).toMatchObject({ groupName, eventSource: "s" });
    const reader = await new Reader(calls, 1, "s", groupName).confirmed();
    reader.ack(...(await reader.get(1)));
    reader.cancel();
  }
  const listOption = {
    case: "listForStream",
    value: { streamOption: { case: "stream", value: streamIdentifier } },
  } as const;
  const { subscriptions } = await calls.unary(p.list, { options: { listOption } });
  expect(subscriptions.map(({ groupName }) => groupName).toSorted()).toEqual(groups.toSorted());
  for (const groupName of groups) {
    const streamOption = { case: "streamIdentifier", value: streamIdentifier } as const;
    await calls.unary(p.delete, { options: { groupName, streamOption } });
  }
  await server.stop();
});
