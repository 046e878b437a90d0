// A process that locks a folder and says so; for the tests of the lock. While it holds the lock it
// also holds a file that can be made only once: so it finds out if somebody else holds it too.
import { rm, writeFile } from "node:fs/promises";
import { lockFolder } from "../../../../src/storage/leveldb/folder/folder-lock.ts";

const [folder = "", times = "1"] = process.argv.slice(2);
const held = `${folder}-held`;
for (let i = 0; i < Number(times); i++) {
  const lock = await lockFolder(folder).catch(() => undefined);
  if (!lock) continue;
  const alone = await writeFile(held, "", { flag: "wx" }).then(
    () => true,
    () => false,
  );
  process.send?.(alone ? "locked" : "another one holds it too");
  if (times === "1") await new Promise((resolve) => process.once("message", resolve));
  if (alone) await rm(held, { force: true });
  await lock.release();
}
process.disconnect();
