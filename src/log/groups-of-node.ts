// Of the servers that share a store, one runs its consumer groups. The others refuse every
// operation of a group, and say which one it is.

import type { Storage } from "../storage/storage.ts";
import type { GroupLog } from "./group-verbs.ts";

type Args<Name extends keyof GroupLog> = Parameters<GroupLog[Name]>;

export function groupsOfNode(storage: Pick<Storage, "holdGroups">, groups: GroupLog): GroupLog {
  const hold = storage.holdGroups?.bind(storage);
  if (hold === undefined) return groups;
  const held = <A extends unknown[], T>(act: (...args: A) => Promise<T>) => {
    return async (...args: A): Promise<T> => {
      await hold();
      return act(...args);
    };
  };
  return {
    create: held((...args: Args<"create">) => groups.create(...args)),
    update: held((...args: Args<"update">) => groups.update(...args)),
    reset: held((...args: Args<"reset">) => groups.reset(...args)),
    remove: held((...args: Args<"remove">) => groups.remove(...args)),
    get: held((...args: Args<"get">) => groups.get(...args)),
    settings: held((...args: Args<"settings">) => groups.settings(...args)),
    list: held((...args: Args<"list">) => groups.list(...args)),
    join: held((...args: Args<"join">) => groups.join(...args)),
    listParked: held((...args: Args<"listParked">) => groups.listParked(...args)),
    replayParked: held((...args: Args<"replayParked">) => groups.replayParked(...args)),
    discardParked: held((...args: Args<"discardParked">) => groups.discardParked(...args)),
    waitFor: held((...args: Args<"waitFor">) => groups.waitFor(...args)),
  };
}
