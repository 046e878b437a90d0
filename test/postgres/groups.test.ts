// Consumer groups over several servers: one runs them, members of all servers are served through it,
// and another one goes on with what is settled when that one dies. Who calls is told safely.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createToken } from "../../src/access/token-file.ts";
import { connect } from "../../src/client/sdk.ts";
import { happenings, StoreServers, type StoreServer } from "./store-servers.ts";

const servers = new StoreServers();

describe.skipIf(servers.programs === undefined)("groups over PostgreSQL", () => {
  test("members of any server are served, also when the one that runs them dies", async () => {
    const [one, other] = [await servers.served("groups"), await servers.served("groups")];
    for (let n = 1; n <= 12; n++) {
      await other.client.append(`s-${n}`, { type: "Happened", data: { n } });
    }
    await one.client.groups.create("mails");
    const info = await other.client.groups.get("mails", { timeoutMs: 10_000 });
    expect(info?.lagEvents).toBe(12);
    const missing = other.client.groups.get("none", { timeoutMs: 10_000 });
    expect(await missing).toBeUndefined();
    const there = await take(other, 3);
    const both = await Promise.all([take(one, 3), take(other, 3)]);
    await one.kill();
    const after = await take(other, 3);
    const all = [...there, ...both.flat(), ...after].toSorted((a, b) => a - b);
    expect(all).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    const left = await other.client.groups.get("mails", { timeoutMs: 20_000 });
    expect(left?.lagEvents).toBe(0);
  });

  test("a forwarded call is judged as its caller's, and nobody else can claim one", async () => {
    const folder = mkdtempSync(join(tmpdir(), "annals-groups-"));
    servers.afterwards(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "tokens.json");
    writeFileSync(file, '{"tokens":[]}');
    const tokenOf = async (name: string, role: string): Promise<string> => {
      const wish = { name, roles: [role], nowMs: Date.now(), expiresMs: Infinity };
      return (await createToken(file, wish)).text;
    };
    const [admin, service, reader] = [
      await tokenOf("boss", "admin"),
      await tokenOf("worker", "service"),
      await tokenOf("eyes", "reader"),
    ];
    const served = () => servers.served("asked", ["--tokens-file", file]);
    const [one, other] = [await served(), await served()];
    const as = (address: string, token: string) => {
      const client = connect({ address, events: happenings, token });
      servers.afterwards(() => client.close());
      return client;
    };
    const [first, second, looking] = [
      as(one.address, admin),
      as(other.address, service),
      as(other.address, reader),
    ];
    await first.append("s", { type: "Happened", data: { n: 1 } });
    await first.groups.create("mails");
    expect(await take({ client: second }, 1)).toEqual([1]);
    const denied = looking.groups.delete("mails", { timeoutMs: 10_000 });
    await expect(denied).rejects.toThrow(`"eyes" lacks manage`);
    for (const header of ["", "e30.", "e30.AAAA", `${Buffer.from("{}").toString("base64url")}.x`]) {
      const answer = await fetch(
        `http://${one.address}/annals.v1.ConsumerGroupService/DeleteGroup`,
        {
          method: "POST",
          body: JSON.stringify({ name: "mails" }),
          headers: { "content-type": "application/json", "annals-forwarded": header },
        },
      );
      expect(answer.status).toBe(401);
    }
    expect(await second.groups.get("mails", { timeoutMs: 10_000 })).toBeDefined();
  });
});

/** Settles so many events, and answers which. */
async function take({ client }: Pick<StoreServer, "client">, count: number): Promise<number[]> {
  const taken: number[] = [];
  for await (const { event, ack } of client.group("mails", { permits: 1 })) {
    await ack();
    taken.push(event.data.n);
    if (taken.length === count) break;
  }
  return taken;
}
