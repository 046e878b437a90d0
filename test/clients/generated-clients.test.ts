// A generated client in each language holds the same conversation with a live server. A language
// whose toolchain is not here is reported as not run, and fails where REQUIRE_CLIENTS names it
// or says `all`.

import { afterAll, describe, expect, test } from "vitest";
import { build, missingTool, sourcesOf } from "./build-cache.ts";
import { conversation } from "./conversation.ts";
import type { Transport } from "./live-server.ts";
import { notRun, printReport, ran } from "./report.ts";
import { runClient } from "./run-client.ts";
import { languages } from "./toolchains.ts";

const languageMsMax = 600_000;

const transports: readonly Transport[] = ["TCP", "a Unix socket"];

describe.each(languages)("a client generated for $name", (toolchain) => {
  const { name } = toolchain;

  test.for(transports)(
    "holds the whole conversation over %s",
    { timeout: languageMsMax },
    async (transport, { skip }) => {
      const missing = await missingTool(toolchain);
      if (missing !== undefined) {
        notRun(name, missing);
        skip(`not run: ${missing}`);
      }
      const { folder, seconds } = await build(toolchain, sourcesOf(`test/clients/${name}`));
      const since = performance.now();
      const said = await runClient(toolchain.run, folder, transport);
      ran(`${name} over ${transport}`, seconds, (performance.now() - since) / 1_000);
      expect(said.map(({ step }) => step)).toEqual(conversation.map(({ step }) => step));
      for (const [index, { step, does, facts }] of conversation.entries()) {
        expect(said[index], `${name}, ${step}: ${does}`).toEqual({ step, ok: true, ...facts });
      }
    },
  );
});

afterAll(printReport);
