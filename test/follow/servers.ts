// A leader and its followers for the tests of following: servers that end with their test, in
// folders that end with its file.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll } from "vitest";
import { FollowerPhase } from "../../src/gen/annals/v1/info_pb.js";
import { startTestServer, type TestServer } from "../support/running-server.ts";
import { clientsOf, type Clients } from "../support/varied-history.ts";

/** A server, its clients, and its end, which may come early. */
export interface Member {
  readonly server: TestServer;
  readonly clients: Clients;
  stop(): Promise<void>;
}

/** Called at the top of a file of tests. */
export function servers(name: string) {
  let scratch = "";
  let made = 0;
  const ends: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), `annals-${name}-`));
  });
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end();
  });
  afterAll(() => rm(scratch, { recursive: true }));

  /** Stops it at the end of the test, unless the test has. */
  const ending = <M extends { stop(): Promise<void> }>(member: M): M => {
    let stopped: Promise<void> | undefined;
    const stop = (): Promise<void> => (stopped ??= member.stop());
    ends.push(stop);
    return { ...member, stop };
  };
  return {
    fresh: (of: string): string => join(scratch, `${of}-${made++}`),
    ending,
    started: async (flags: readonly string[]): Promise<Member> => {
      const server = await startTestServer(flags);
      const clients = clientsOf(server.address);
      const stop = async (): Promise<void> => {
        clients.close();
        await server.stop();
      };
      return ending({ server, clients, stop });
    },
  };
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Until the follower has everything that its leader has. */
export async function caughtUp(
  follower: Pick<Member, "clients">,
  leader: Pick<Member, "clients">,
): Promise<void> {
  const begun = performance.now();
  await until(async () => {
    const { follower: told, head } = await follower.clients.store.getInfo({});
    const isThere = head === (await leader.clients.store.getInfo({})).head;
    const isRefused = told?.phase === FollowerPhase.REFUSED;
    if (isRefused || performance.now() - begun > 60_000) throw new Error(`behind: ${told?.why}`);
    return isThere && told?.phase === FollowerPhase.FOLLOWING;
  });
}
