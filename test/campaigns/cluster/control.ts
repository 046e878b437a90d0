// The control: a cluster whose commits wait for no standby. Its primary is cut off from the other
// nodes, and goes on acknowledging for a while what its successor never had. That must be seen; and
// servers that had seen more than the new primary has must refuse it.
import { setTimeout as pause } from "node:timers/promises";
import { seededRandom } from "../../support/seeded.ts";
import { History } from "../support/history.ts";
import { ServerProcess } from "../support/server-process.ts";
import { ClusterCrowd } from "./cluster-crowd.ts";
import { serverPort } from "./cluster-round.ts";
import { LocalCluster } from "./local-cluster.ts";

const loadMs = 2_000;
const refusal = "a failover has lost commits";
const attemptsMax = 3;

export interface ControlResult {
  readonly lost: boolean;
  /** What was seen, for people. */
  readonly how: string;
}

export async function controlLoses(seed: number): Promise<ControlResult> {
  const cluster = await LocalCluster.start({ isSynchronous: false });
  let result: ControlResult = { lost: false, how: "nothing was lost" };
  try {
    for (let i = 0; i < attemptsMax && !result.lost; i++) {
      result = await oneFailover(cluster, seed + i, `control_${i}`);
    }
  } finally {
    await cluster.remove();
  }
  return result;
}

async function oneFailover(
  cluster: LocalCluster,
  seed: number,
  schema: string,
): Promise<ControlResult> {
  const name = "server1";
  const start = (): Promise<ServerProcess> =>
    ServerProcess.start({
      folder: cluster.folder,
      port: serverPort,
      under: ["ip", "netns", "exec", cluster.namespaceOf(name)],
      flags: ["--storage", cluster.url, "--storage-schema", schema].concat(
        ["--host", cluster.addressOf(name)],
        ["--allow-remote", "--no-auth"],
      ),
    });
  const { primary } = await cluster.healthy();
  let server = await start();
  if (!server.serves) throw new Error(`the server of the control does not start: ${server.log}`);
  const history = new History(seed);
  const place = { host: cluster.addressOf(name), port: serverPort, name };
  const crowd = new ClusterCrowd(history, seededRandom(seed), [place]);
  try {
    crowd.begin();
    await pause(loadMs);
    await cluster.tell("split", `node${primary}`);
    await cluster.movedFrom(primary);
    await cluster.tell("join", `node${primary}`);
    await cluster.healthy();
    await pause(loadMs);
    const isRefused = server.log.includes(refusal);
    crowd.stop();
    await server.kill();
    server = await start();
    await crowd.verify(place);
    const lost = history.violations.length > 0;
    const told = isRefused ? "the server refused the new primary" : "the server refused nothing";
    return { lost: lost && isRefused, how: `${told}; ${history.violations[0] ?? "nothing lost"}` };
  } finally {
    crowd.stop();
    await server.kill();
  }
}
