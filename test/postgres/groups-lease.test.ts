// Which server runs the groups, where it could be two: the lease is renewed by commits that no
// failover loses, and what a member holds whose call broke between two servers is given to another
// one, and can only be settled there.
import { createServer, connect as connectTo, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { openPostgres } from "../../src/storage/postgres/open.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { failedOf, nextOf, type Calls } from "../support/calls.ts";
import { asking } from "./postgres-storage.ts";
import { StoreServers } from "./store-servers.ts";

const servers = new StoreServers();
const isMissing = servers.programs === undefined;

describe.skipIf(isMissing)("the lease", () => {
  const opened = async (schema: string, address: string) => {
    const engine = await openPostgres({ url: servers.url, schema, address });
    servers.afterwards(() => engine.storage().close());
    return engine.storage();
  };
  const setting = async (url: string, name: string, value: string): Promise<void> => {
    await asking(url, `ALTER SYSTEM SET ${name} = '${value}'`);
    await asking(url, "SELECT pg_reload_conf()");
  };
  const standbys = (names: string): Promise<void> =>
    setting(servers.url, "synchronous_standby_names", names);
  const until = async (schema: string): Promise<unknown> =>
    (await servers.asked(`SELECT until::text FROM "${schema}".lease`))[0]?.[0];

  const takenBy = (storage: Storage) =>
    storage.holdGroups?.().then(
      () => "its",
      () => "not yet",
    );

  test("is renewed, and nobody else gets it meanwhile", async () => {
    const [one, other] = [await opened("kept", "one:1"), await opened("kept", "other:1")];
    let lost = 0;
    one.watch({ groupsLost: () => lost++ });
    await one.holdGroups?.();
    const seen = new Set<unknown>();
    // Renewed so often, it has lasted longer than one lease.
    while (seen.size < 5) {
      seen.add(await until("kept"));
      await expect(other.holdGroups?.()).rejects.toMatchObject({
        failure: { reason: "GROUPS_ELSEWHERE", server: "one:1" },
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(lost).toBe(0);
    await one.close();
    await expect.poll(() => other.holdGroups?.().then(() => "its"), patient).toBe("its");
  });

  test("ends with a server that cannot log in any more, and with one that stops then", async () => {
    const url = servers.url;
    await servers.asked("CREATE ROLE shut SUPERUSER LOGIN");
    const address = "one:1";
    const login = url.replace("annals@", "shut@");
    const one = (await openPostgres({ url: login, schema: "shut", address })).storage();
    servers.afterwards(() => one.close());
    const other = await opened("shut", "other:1");
    const lost = new Promise<void>((resolve) => one.watch({ groupsLost: resolve }));
    await one.holdGroups?.();
    // The lease is renewed on a session of its own, which lives on.
    const first = await until("shut");
    await expect.poll(() => until("shut"), patient).not.toBe(first);
    await servers.asked("ALTER ROLE shut NOLOGIN");
    const others = "usename = 'shut' AND query NOT IN ('COMMIT', 'BEGIN')";
    await servers.asked(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${others}`);
    await lost;
    await expect.poll(() => takenBy(other), patient).toBe("its");
  });

  test("ends with a server that stops while nobody tells it of appends", async () => {
    const [one, other] = [await opened("stops", "one:1"), await opened("stops", "other:1")];
    await one.holdGroups?.();
    const first = await until("stops");
    await expect.poll(() => until("stops"), patient).not.toBe(first);
    const listening = "query ILIKE 'LISTEN%'";
    await servers.asked(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${listening}`,
    );
    await one.close();
    await expect.poll(() => takenBy(other), patient).toBe("its");
  });

  test("keeps out what was decided under an earlier one, and stays held", async () => {
    const one = await opened("earlier", "one:1");
    let lost = 0;
    one.watch({ groupsLost: () => lost++ });
    const number = (await one.holdGroups?.()) ?? 0;
    const writing = (name: string, lease: number) => {
      const sideValues = [
        { space: "group-progress", name, value: new Uint8Array(1), lease },
      ] as const;
      return one.commit({ after: one.head(), recordedAt: one.now(), events: [], sideValues });
    };
    await expect(writing("old", number - 1)).rejects.toMatchObject({ reason: "RECOVERING" });
    expect(await writing("new", number)).toBe("committed");
    const stored = await one.sideValues.get("group-progress", ["old", "new"]);
    expect([...stored.keys()]).toEqual(["new"]);
    expect([await one.holdGroups?.(), lost]).toEqual([number, 0]);
  });

  test("is renewed while a standby takes almost half a lease for each commit", async () => {
    const standby = await servers.standby();
    const [one, other] = [await opened("slow", "one:1"), await opened("slow", "other:1")];
    await setting(standby.connectionString, "recovery_min_apply_delay", "1850ms");
    await setting(servers.url, "synchronous_commit", "remote_apply");
    servers.afterwards(() => setting(servers.url, "synchronous_commit", "on"));
    await standbys("*");
    servers.afterwards(() => standbys(""));
    let lost = 0;
    one.watch({ groupsLost: () => lost++ });
    await one.holdGroups?.();
    const seen = new Set<unknown>();
    while (seen.size < 5) {
      seen.add(await until("slow"));
      expect(await takenBy(other)).toBe("not yet");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(lost).toBe(0);
  });

  test("is not renewed by a commit that is on no standby", async () => {
    const [one, other] = [await opened("alone", "one:1"), await opened("alone", "other:1")];
    const lost = new Promise<void>((resolve) => one.watch({ groupsLost: resolve }));
    await one.holdGroups?.();
    await standbys("nobody");
    servers.afterwards(() => standbys(""));
    // The primary answers all the time. A failover now would forget what it has committed.
    await lost;
    await standbys("");
    await expect.poll(() => takenBy(other), patient).toBe("its");
  });
});

describe.skipIf(isMissing)("a call that breaks between two servers", () => {
  test("leaves an event in two hands, of which one can settle it", async () => {
    const wire = await Wire.open();
    servers.afterwards(() => wire.close());
    const runs = await servers.served("hands", ["--advertise", `127.0.0.1:${wire.port}`]);
    wire.to = runs.port;
    await runs.client.groups.create("mails", { leaseMs: 600_000 });
    const other = await servers.served("hands");
    await runs.client.append("s", { type: "Happened", data: { n: 1 } });

    const behind = join(other.calls);
    const [held] = await deliveries(behind);
    const beside = join(runs.calls);
    // The server that runs the group hears that the connection is gone; the other one does not.
    wire.cut();
    const [again] = await deliveries(beside);
    expect(again?.event?.position).toBe(held?.event?.position);
    expect(again?.attempt).toBe(2);
    // Both are of one loading of the group, so of one server.
    const loading = (token = ""): string => token.slice(0, token.indexOf("."));
    expect(loading(again?.token)).toBe(loading(held?.token));

    behind.send({ message: { case: "ack", value: { tokens: [held?.token ?? ""] } } });
    beside.send({ message: { case: "ack", value: { tokens: [again?.token ?? ""] } } });
    const settled = await nextOf(beside.answers);
    expect(settled.message).toMatchObject({ case: "settled", value: { tokens: [again?.token] } });
    wire.close();
    // Nothing was settled there, whatever was said.
    expect(await failedOf(nextOf(behind.answers))).toMatchObject({ reason: "GROUPS_ELSEWHERE" });
    const info = await runs.client.groups.get("mails", { timeoutMs: 20_000 });
    expect(info?.lagEvents).toBe(0);
  });
});

const patient = { timeout: 30_000 };

type Member = ReturnType<typeof join>;

function join(calls: Calls) {
  const pipe = calls.pipe(ConsumerGroupService.method.consume);
  pipe.send({ message: { case: "join", value: { group: "mails", permits: 1 } } });
  return pipe;
}

async function deliveries(member: Member) {
  for (;;) {
    const { message } = await nextOf(member.answers);
    if (message.case === "deliveries") return message.value.deliveries;
  }
}

/** What one server reaches another one by. */
class Wire {
  to = 0;
  private readonly ends: { readonly near: Socket; readonly far: Socket }[] = [];
  private readonly server = createServer((near) => {
    const far = connectTo(this.to, "127.0.0.1");
    for (const each of [near, far]) each.on("error", () => {});
    near.pipe(far, { end: false });
    far.pipe(near, { end: false });
    this.ends.push({ near, far });
  });

  static async open(): Promise<Wire> {
    const wire = new Wire();
    wire.server.listen(0, "127.0.0.1");
    await once(wire.server, "listening");
    return wire;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The far end is gone, and the near one hears nothing of it. */
  cut(): void {
    for (const { far } of this.ends) far.destroy();
  }

  close(): void {
    this.server.close();
    for (const { near, far } of this.ends.splice(0)) {
      near.destroy();
      far.destroy();
    }
  }
}
