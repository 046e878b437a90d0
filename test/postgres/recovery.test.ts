// A session that breaks while another one is being opened: the server has to look for a further one.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AnnalsError } from "../../src/domain/errors.ts";
import type { SideValueSpace } from "../../src/storage/storage.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { asking, openPostgresEngine } from "./postgres-storage.ts";

const programs = postgresPrograms();
let postgres: PostgresServer;

beforeAll(async () => {
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterAll(() => postgres?.remove());

describe.skipIf(programs === undefined)("a session that commits", () => {
  test("is opened once more where the new one breaks before all of them are there", async () => {
    const { connectionString: url } = postgres;
    const engine = await openPostgresEngine(url);
    const { storage } = engine;
    const commit = (space: SideValueSpace): Promise<unknown> => {
      const { position, recordedAt } = storage.head();
      const sideValues = [{ space, name: "a", value: new Uint8Array([1]) }];
      return storage.commit({
        after: { position, recordedAt },
        recordedAt,
        events: [],
        sideValues,
      });
    };
    try {
      await storage.holdGroups?.();
      const [[schema] = []] = await asking(
        url,
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'store-%'",
      );
      await asking(url, `UPDATE "${schema as string}".lease SET number = number + 1`);
      // Whatever it wrote for groups now is refused, and ends the session in which it was sent.
      let refused = 0;
      while (refused < 2) {
        const error: unknown = await commit("group").catch((failed: unknown) => failed);
        expect(error).toBeInstanceOf(AnnalsError);
        if ((error as Error).message.includes("on another server")) refused++;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await expect
        .poll(() => commit("checkpoint").catch(() => "not yet"), { timeout: 20_000 })
        .toBe("committed");
    } finally {
      await engine.close();
    }
  });

  test("is not opened again where the store has begun an epoch meanwhile", async () => {
    const { connectionString: url } = postgres;
    const warnings: string[] = [];
    const warn = (_: string, cause?: unknown): void => void warnings.push((cause as Error).message);
    const engine = await openPostgresEngine(url, undefined, { warn });
    try {
      const [[schema] = []] = await asking(
        url,
        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'store-%'",
      );
      const store = `"${schema as string}".store`;
      await asking(url, `UPDATE ${store} SET history = history || history`);
      const others = "application_name = 'annals' AND pid <> pg_backend_pid()";
      await asking(url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${others}`);
      await expect
        .poll(() => warnings.join(), { timeout: 20_000 })
        .toContain("the store has begun a new epoch");
      expect(engine.storage.writeState()).not.toBe("accepting");
    } finally {
      await engine.close();
    }
  });
});
