// What the compiler says of a mistake in an append: it points at the mistake, not at another way to
// call the method.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const repository = fileURLToPath(new URL("../../../", import.meta.url));

const program = `
import { connect, defineEvents } from "../../src/client/sdk.ts";
type Money =
  | { readonly type: "Paid"; readonly data: { readonly cents: number } }
  | { readonly type: "Noted"; readonly data: { readonly text: string } };
const client = connect({ events: defineEvents<Money>() });
await client.append("s", { type: "Paid", data: { cents: "one" } });
await client.append("s", [{ type: "Paid", data: { cents: "list" } }]);
await client.append("s", { type: "Payd", data: { cents: 5 } });
await client.append([{ type: "Paid", stream: "a", data: { cents: "many" } }]);
await client.append("s", { type: "Paid", data: { cents: 5 } }, { expect: "gone" });
`;

test("a mistake in an append is told where it is", () => {
  mkdirSync(join(repository, ".tmp"), { recursive: true });
  const folder = mkdtempSync(join(repository, ".tmp/types-"));
  try {
    writeFileSync(join(folder, "program.ts"), program);
    const config = { extends: "../../tsconfig.json", include: ["program.ts"], exclude: [] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const tsc = join(repository, "node_modules/.bin/tsc");
    const { stdout } = spawnSync(tsc, ["-p", folder], { encoding: "utf8" });
    const told = stdout.split(/^(?=\S)/m);
    expect(told).toHaveLength(5);
    const wrongData = /Type 'string' is not assignable to type 'number'/;
    expect(told[0]).toMatch(wrongData);
    expect(told[1]).toMatch(wrongData);
    expect(told[2]).toMatch(/Type '"Payd"' is not assignable to type '"Paid"'/);
    expect(told[3]).toMatch(wrongData);
    expect(told[4]).toMatch(/Type '"gone"' is not assignable to type 'Expect \| undefined'/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
