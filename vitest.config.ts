// Four suites: `fast` is the gate; `clients` (other languages), `postgres` (needs its server) and
// `campaigns` (long, generated faults and loads) have scripts of their own.
import { defineConfig } from "vitest/config";

const clients = "test/clients/**/*.test.ts";
const postgres = "test/postgres/**/*.test.ts";
const campaigns = "test/campaigns/**/*.test.ts";

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    // Generous: a busy machine is slow, not wrong.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: "fast",
          include: ["test/**/*.test.ts"],
          exclude: [clients, postgres, campaigns],
        },
      },
      {
        extends: true,
        test: { name: "clients", include: [clients], testTimeout: 300_000, hookTimeout: 600_000 },
      },
      {
        extends: true,
        test: { name: "postgres", include: [postgres] },
      },
      {
        extends: true,
        test: { name: "campaigns", include: [campaigns], testTimeout: 900_000 },
      },
    ],
  },
});
