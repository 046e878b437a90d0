// Stores of the first builds: ids that the server made are found once the store was opened, and
// records that some parsers refuse go out in a form that all of them take.
import { describe, expect, test } from "vitest";
import { decodeRecord, isShortest } from "../../../../src/domain/record.ts";
import { recordsOf } from "../../../../src/log/read/records.ts";
import { upgradeKey } from "../../../../src/storage/leveldb/format/keys.ts";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import { commitEvents, idOf, newEvent, newEvents } from "../../../support/events.ts";

const everything = { kind: "query", query: { items: [] } } as const;

/** A store as the first builds left it: ids of the server's making are in no index. */
async function oldStore(kv: Kv): Promise<void> {
  const storage = await openStorageOver({ openKv: async () => kv });
  for (let i = 0; i < 40; i++) {
    await commitEvents(
      storage,
      newEvents(7, (n) => ({
        id: idOf(1_000 + i * 7 + n),
        idFromClient: n % 2 === 0,
        stream: "s",
      })),
    );
  }
  await kv.write([[upgradeKey(), undefined]]);
}

async function foundIds(kv: Kv): Promise<number[]> {
  const storage = await openStorageOver({ openKv: async () => kv });
  const ids = Array.from({ length: 280 }, (_, i) => idOf(1_000 + i));
  const { events } = await storage.facts({ streams: [], ids, conditions: [] });
  return ids.map((id) => events.get(id)?.position ?? 0);
}

describe("a store of the first builds", () => {
  const all = Array.from({ length: 280 }, (_, i) => i + 1);

  test("finds every id once it was opened, and is sound", async () => {
    const kv = openMemoryKv();
    await oldStore(kv);
    expect(await foundIds(kv)).toEqual(all);
    const findings: string[] = [];
    await verifyStore(kv, { head: 280, found: (finding) => void findings.push(finding) });
    expect(findings).toEqual([]);
  });

  test("is upgraded once, and begins anew where that was cut off", async () => {
    const kv = openMemoryKv();
    await oldStore(kv);
    let writes = 0;
    const cut: Kv = {
      ...kv,
      getMany: (keys) => kv.getMany(keys),
      page: (range) => kv.page(range),
      write: async (operations) => {
        await kv.write(operations.slice(0, 50));
        throw new Error("cut off");
      },
    };
    await expect(openStorageOver({ openKv: async () => cut })).rejects.toThrow("cut off");
    const counted: Kv = {
      ...cut,
      write: (operations) => {
        writes++;
        return kv.write(operations);
      },
    };
    expect(await foundIds(counted)).toEqual(all);
    expect(writes).toBe(1);
    expect(await foundIds(counted)).toEqual(all);
    expect(writes).toBe(1);
  });

  test("hands out records whose varints are longer than needed in the shortest form", async () => {
    const kv = openMemoryKv();
    const storage = await openStorageOver({ openKv: async () => kv });
    const plain = newEvent({ stream: "s", type: "T", metadata: { k: "v" } });
    // The type's length in six bytes: legal, and refused by upb, C++ and protobufjs.
    const at = Buffer.from(plain.body).indexOf(Buffer.from([0x1a, 1, 0x54]));
    const long = Buffer.from([0x1a, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00, 0x54]);
    const body = Buffer.concat([plain.body.subarray(0, at), long, plain.body.subarray(at + 3)]);
    await commitEvents(storage, [newEvent({ stream: "s" }), { ...plain, body }]);
    await kv.write([[upgradeKey(), undefined]]);
    const again = await openStorageOver({ openKv: async () => kv });
    const stream = { kind: "stream", stream: "s" } as const;
    for (const selection of [everything, stream]) {
      for (const direction of ["forwards", "backwards"] as const) {
        const positions = { first: 1, last: 2 };
        const read = again.read({ selection, direction, positions, batchBytes: 1_000 });
        const records: Uint8Array[] = [];
        for await (const batch of read) records.push(...recordsOf(batch));
        expect(records.every(isShortest)).toBe(true);
        const found = records.map(decodeRecord).find(({ id }) => id === plain.id);
        expect(found).toMatchObject({ type: "T", metadata: { k: "v" }, stream: "s", version: 2n });
      }
    }
  });
});
