// Seven suites. `fast` is part of the gate. `clients` (other languages), `adapters` (other frameworks),
// `browser` (needs Chromium), `packages` (what is installed), `postgres` (needs its server) and
// `campaigns` (long runs with generated faults and loads) have their own scripts.
import { defineConfig } from "vitest/config";

const clients = "test/clients/**/*.test.ts";
const adapters = "test/adapters/**/*.test.ts";
const browser = "test/browser/**/*.test.ts";
const packages = "test/packages/**/*.test.ts";
const postgres = "test/postgres/**/*.test.ts";
const campaigns = "test/campaigns/**/*.test.ts";

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    // Generous, because a busy machine is slow.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: "fast",
          include: ["test/**/*.test.ts"],
          exclude: [clients, adapters, browser, packages, postgres, campaigns],
        },
      },
      {
        extends: true,
        test: { name: "clients", include: [clients], testTimeout: 300_000, hookTimeout: 600_000 },
      },
      {
        extends: true,
        test: { name: "adapters", include: [adapters], testTimeout: 900_000, hookTimeout: 900_000 },
      },
      {
        extends: true,
        test: { name: "browser", include: [browser], testTimeout: 300_000, hookTimeout: 600_000 },
      },
      {
        extends: true,
        test: { name: "packages", include: [packages], testTimeout: 900_000, hookTimeout: 900_000 },
      },
      {
        extends: true,
        test: {
          name: "postgres",
          include: [postgres],
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
      {
        extends: true,
        test: { name: "campaigns", include: [campaigns], testTimeout: 900_000 },
      },
    ],
  },
});
