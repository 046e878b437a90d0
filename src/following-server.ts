// What makes a server a follower: its storage is a copy, which is kept up to date for as long as
// the server runs.

import { resolve } from "node:path";
import type { History } from "./domain/epoch.ts";
import { startFollower, type Follower } from "./follow/follower.ts";
import { followerStorage, requireWhole } from "./follow/follower-storage.ts";
import { leaderOf, storeOfLeader, type Leader } from "./follow/leader.ts";
import type { Logger } from "./logger.ts";
import type { Config } from "./options.ts";
import type { FollowStatus } from "./storage/copy.ts";
import { adoptEpochs, promoteCopy } from "./storage/leveldb/create.ts";
import { openLevelStore, type LevelStorageOptions } from "./storage/leveldb/open.ts";
import type { Storage } from "./storage/storage.ts";

/** The storage of a follower, and what keeps it up to date. */
export interface FollowingStorage {
  readonly storage: Storage;
  /**
   * Called once the server listens. Resolves when the server has to be started anew, as a follower
   * or as a store of its own.
   */
  begin(wholeChanged: (whole: boolean) => void): Promise<{ readonly isFollower: boolean }>;
  /** Makes the copy a store of its own, which the next start serves. Throws COPY_INCOMPLETE. */
  promote(): Promise<Promotion>;
}

interface Promotion {
  readonly storeId: string;
  readonly epoch: string;
  readonly head: number;
  readonly isExact: boolean;
}

/** The answer to a promotion is sent before the server stops. */
const answerMs = 200;

/**
 * Opens the folder of a copy; of an empty one, once a leader has said of which store. The signal
 * ends that wait: throws its reason.
 */
export async function openFollowing(
  config: Config,
  options: LevelStorageOptions,
  logger: Logger,
  signal?: AbortSignal,
): Promise<FollowingStorage> {
  const leader = leaderOf(config);
  try {
    const waiting = (why: string): void => logger.warn("waiting for the leader", { why });
    const copied = () => storeOfLeader(leader, waiting, signal);
    // What a copy that is not whole lacks is no damage.
    let isWhole = (): boolean => false;
    const { scrub } = options;
    const found = (finding: string): void => void (isWhole() && scrub?.found?.(finding));
    const scrubbing = scrub && { scrub: { ...scrub, found } };
    const store = await openLevelStore({ ...options, ...scrubbing, reclaim: undefined, copied });
    isWhole = () => store.target?.isWhole === true;
    return followingStorage(config, leader, store, logger);
  } catch (error) {
    leader.close();
    throw error;
  }
}

function followingStorage(
  config: Config,
  leader: Leader,
  { storage: own, target }: Awaited<ReturnType<typeof openLevelStore>>,
  logger: Logger,
): FollowingStorage {
  if (target === undefined) throw new Error("the store was opened without a copy's target");
  let follower: Follower | undefined;
  const notBegun: FollowStatus = {
    leader: leader.address,
    phase: "disconnected",
    why: "not connected yet",
    leaderHead: 0,
    lagEvents: 0,
    lagMs: 0,
  };
  const storage = followerStorage(own, target, () => follower?.status() ?? notBegun);
  const close = async (): Promise<void> => {
    await follower?.stop();
    leader.close();
    await own.close();
  };
  let closed: Promise<void> | undefined;
  const folder = resolve(config.data);
  let startAgain: (as: { readonly isFollower: boolean }) => void = () => {};
  const again = new Promise<{ readonly isFollower: boolean }>((start) => {
    startAgain = start;
  });
  let promoted: Promise<Promotion> | undefined;
  const promote = async (): Promise<Promotion> => {
    await follower?.stop();
    const { position: head } = own.head();
    const { isExact } = target;
    const [storeId, epoch] = await promoteCopy(folder, head);
    logger.info("promoted", { storeId, epoch, head, isExact });
    setTimeout(() => startAgain({ isFollower: false }), answerMs);
    return { storeId, epoch, head, isExact };
  };
  return {
    storage: { ...storage, close: () => (closed ??= close()) },
    promote: () => {
      requireWhole(target, leader.address);
      return (promoted ??= promote());
    },
    begin(wholeChanged) {
      wholeChanged(target.isWhole);
      const epochsBegun = (history: History): void => {
        adoptEpochs(folder, history).then(
          () => startAgain({ isFollower: true }),
          (error: unknown) => logger.error("the leader's epochs were not taken over", { error }),
        );
      };
      follower = startFollower({
        leader: leader.address,
        backups: leader.backups,
        storage: own,
        target,
        info: (message, fields) => logger.info(message, fields),
        warn: (message, fields) => logger.warn(message, fields),
        nowMs: () => performance.now(),
        wholeChanged,
        epochsBegun,
      });
      return again;
    },
  };
}
