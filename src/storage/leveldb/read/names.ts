// Lists the term dictionary: names in the order of their UTF-8 bytes, which is the order of keys.

import { corruption } from "../../../domain/errors.ts";
import type { NamePage } from "../../storage.ts";
import type { OpenStore } from "../state/open-store.ts";
import { bornAt, prefixTerm, termKey, type TermKind } from "../format/keys.ts";
import { openTermNumber } from "../state/terms.ts";

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const pageCountMax = 1_000;

/**
 * The names of a kind that begin with the page's prefix, after its `after`, as of `head`. Without a
 * prefix, system names (`$...`) are left out.
 */
export async function namesWithPrefix(
  { kv }: Pick<OpenStore, "kv">,
  kind: TermKind,
  page: NamePage,
  head: number,
): Promise<string[]> {
  const prefix = termKey(kind, page.prefix);
  const last = Buffer.concat([prefix, Buffer.alloc(8, 0xff)]);
  const start = page.after === "" ? prefix : successor(termKey(kind, page.after));
  let first = Buffer.compare(start, prefix) < 0 ? prefix : start;
  const names: string[] = [];
  while (names.length < page.limit) {
    const limit = Math.min(page.limit - names.length, pageCountMax);
    const entries = await kv.page({ first, last, limit });
    if (entries.length === 0) break;
    for (const [key, value] of entries) {
      const name = openName(key);
      if (bornAt(openTermNumber(key, value)) > head) continue;
      if (page.prefix === "" && name.startsWith("$")) continue;
      names.push(name);
    }
    const lastKey = (entries.at(-1) as (typeof entries)[number])[0];
    first = page.prefix === "" && lastKey[2] === 0x24 ? afterSystemNames(kind) : successor(lastKey);
  }
  return names;
}

/** The smallest key after a key. */
function successor(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}

/** The smallest key after every name that begins with `$`. */
function afterSystemNames(kind: TermKind): Buffer {
  return Buffer.from([prefixTerm, kind, 0x25]);
}

function openName(key: Uint8Array): string {
  try {
    return text.decode(key.subarray(2));
  } catch (cause) {
    throw corruption("a key of the term dictionary is not UTF-8", {}, cause);
  }
}
