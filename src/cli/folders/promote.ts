// `annals promote`: makes a follower a store of its own, by its server's address or its folder.

import { options as serverOptions } from "../../options.ts";
import type { Promoted } from "../../storage/leveldb/offline/promote.ts";
import { printAnswer } from "../connection/answer.ts";
import { withSession } from "../connection/session.ts";
import { grouped } from "../output/display.ts";
import { connectionOptions, exitCode, jsonOption, parse } from "../arguments/options.ts";
import { say, type Terminal } from "../output/terminal.ts";
import { isAddress } from "./address.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  "storage-schema": { type: "string" },
} as const;

export async function promote(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [named = ""] = positionals;
  const isDatabase = /^postgres(ql)?:\/\//.test(named);
  if (isDatabase) return tell(await inDatabase(named, values["storage-schema"]), values, terminal);
  const promoted = isAddress(named)
    ? await withSession({ ...values, address: named }, terminal, async ({ backups, once }) => {
        const { storeId, epoch, position, exact } = await backups.promote({}, once);
        return { storeId, epoch, head: Number(position), isExact: exact };
      })
    : await ofFolder(named);
  return tell(promoted, values, terminal);
}

async function tell(
  promoted: Promoted,
  values: { readonly json?: boolean | undefined },
  terminal: Terminal,
): Promise<number> {
  const { epoch, head, isExact } = promoted;
  const words = `promoted; head ${grouped(head)}; epoch ${epoch} begins`;
  await printAnswer(terminal, values, promoted, words);
  if (!isExact) {
    const older = "checkpoints, snapshots and groups are older than the last events";
    await say(terminal.errors, `${older}: consumers get some events again`);
  }
  return exitCode.ok;
}

async function inDatabase(url: string, schema?: string): Promise<Promoted> {
  const { promoteDatabase } = await import("../../storage/postgres/promote.ts");
  return promoteDatabase(url, schema ?? serverOptions.storageSchema.initial);
}

async function ofFolder(folder: string): Promise<Promoted> {
  const { promoteFolder } = await import("../../storage/leveldb/offline/promote.ts");
  return promoteFolder(folder);
}
