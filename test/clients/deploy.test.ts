// The files under deploy/, read by the libraries of Compose and Kubernetes themselves (unknown
// fields are refused), and held against what the server really understands and does.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { build, execute, missingTool, sourcesOf } from "./build-cache.ts";
import { freePort, node, repository } from "./live-server.ts";
import { notRun, printReport, ran } from "./report.ts";
import { helpPage } from "../../src/cli/help.ts";
import { loadConfig } from "../../src/config.ts";
import type { Config } from "../../src/options.ts";
import type { Toolchain } from "./toolchains.ts";

const deployCheck: Toolchain = {
  name: "deploy-check",
  needs: [["go", "version"]],
  build: [["go", "build", "-o", "check", "."]],
  run: ["./check"],
};

/** The server is gone after this, whatever hangs. */
const stopSecondsMax = 10;

interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly ports?: readonly { readonly containerPort: number }[];
  readonly [probe: `${string}Probe`]:
    | { readonly httpGet?: { readonly path: string; readonly port: number } }
    | undefined;
}

interface Pod {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly terminationGracePeriodSeconds: number;
}

interface Workload {
  readonly kind: string;
  readonly spec: { readonly replicas: number; readonly template: { readonly spec: Pod } };
}

interface CronJob {
  readonly kind: string;
  readonly spec: {
    readonly concurrencyPolicy: string;
    readonly jobTemplate: {
      readonly spec: {
        readonly template: {
          readonly metadata: { readonly labels: Readonly<Record<string, string>> };
          readonly spec: Pod;
        };
      };
    };
  };
}

interface Compose {
  readonly services: {
    readonly annals: {
      readonly ports: readonly { readonly host_ip: string; readonly target: number }[];
      readonly stop_grace_period: string;
      readonly healthcheck: { readonly test: readonly string[] };
      readonly environment: Readonly<Record<string, string>>;
      readonly volumes: readonly { readonly target: string }[];
    };
  };
}

interface ClusterService {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly unknown[];
  readonly ports: readonly unknown[];
  readonly stop_grace_period: string;
}

const files = {
  compose: "deploy/compose.yaml",
  sidecar: "deploy/kubernetes/sidecar.yaml",
  server: "deploy/kubernetes/server.yaml",
  backup: "deploy/kubernetes/backup.yaml",
  cluster: "deploy/cluster/compose.yaml",
  cloudNative: "deploy/cluster/cloudnative-pg.yaml",
};
/** Where the operator's schema of a cluster is. */
const operatorModule = "github.com/cloudnative-pg/cloudnative-pg@v1.28.1";
/** The compose file of the cluster asks for these. */
const passwords = {
  SUPERUSER_PASSWORD: "s",
  REPLICATION_PASSWORD: "r",
  ANNALS_PASSWORD: "a",
};
let missing: string | undefined;
let found: Record<string, unknown> = {};

beforeAll(async () => {
  missing = await missingTool(deployCheck);
  if (missing !== undefined) {
    notRun("deploy", missing);
    return;
  }
  const { folder, seconds } = await build(deployCheck, sourcesOf("test/clients/deploy-check"));
  ran("deploy", seconds, 0);
  const { Dir: operator } = JSON.parse(
    await execute(["go", "mod", "download", "-json", operatorModule], folder),
  ) as { Dir: string };
  const CRD = join(operator, "config/crd/bases/postgresql.cnpg.io_clusters.yaml");
  const paths = Object.values(files);
  const said = await execute([join(folder, "check"), ...paths], repository, { ...passwords, CRD });
  found = JSON.parse(said) as Record<string, unknown>;
}, 600_000);
afterAll(printReport);

function podOf(file: string): Pod {
  const objects = found[file] as Workload[];
  const [workload] = objects.filter(({ kind }) => kind === "StatefulSet");
  expect(workload?.spec.replicas, "one writer").toBe(1);
  if (workload === undefined) throw new Error("no workload");
  return workload.spec.template.spec;
}

function annalsIn({ containers, initContainers = [] }: Pod): Container {
  const annals = [...initContainers, ...containers].find(({ name }) => name === "annals");
  if (annals === undefined) throw new Error("no annals");
  return annals;
}

/** What the image sets, and over it what the container sets. */
function environmentOf({ env = [] }: Container): Record<string, string> {
  const image = readFileSync(join(repository, "Dockerfile"), "utf8");
  const lastStage = image.slice(image.lastIndexOf("FROM ")).replaceAll(/^#.*$/gm, "");
  const ofImage = [...lastStage.matchAll(/\b(ANNALS_[A-Z_]+)=(\S+)/g)];
  return {
    ...Object.fromEntries(ofImage.map(([, name, value]) => [name, value] as const)),
    ...Object.fromEntries(env.map(({ name, value = "" }) => [name, value])),
  };
}

function configOf(container: Container): Config {
  return loadConfig({ flags: [], environment: environmentOf(container) }).config;
}

describe("the deployment files", () => {
  test("are read by what they are for, without an unknown field", ({ skip }) => {
    if (missing !== undefined) skip(missing);
    expect(Object.keys(found).toSorted()).toEqual(Object.values(files).toSorted());
  });

  test("compose publishes on the loopback and lets the server stop in order", ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const { annals } = (found[files.compose] as Compose).services;
    expect(annals.ports).toMatchObject([{ host_ip: "127.0.0.1", target: 7420 }]);
    expect(Number.parseInt(annals.stop_grace_period, 10)).toBeGreaterThan(stopSecondsMax);
    const env = Object.entries(annals.environment).map(([name, value]) => ({ name, value }));
    const { data, host, port, tcp } = configOf({ name: "annals", env });
    expect({ tcp, host, port }).toEqual({ tcp: true, host: "0.0.0.0", port: 7420 });
    expect(annals.volumes).toMatchObject([{ target: data }]);
    const [, shell, , command] = annals.healthcheck.test;
    expect(shell).toBe("bash");
    expect(command).toContain("/dev/tcp/127.0.0.1/${ANNALS_PORT:-7420} && printf 'GET /readyz ");
  });

  test("the sidecar starts first, stops last, and is called by its socket alone", ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const pod = podOf(files.sidecar);
    const annals = annalsIn(pod);
    const [service] = pod.containers;
    expect(pod.initContainers).toContain(annals);
    expect(annals.restartPolicy).toBe("Always");
    expect(annals.startupProbe).toBeDefined();
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(30 + stopSecondsMax);

    const { tcp, unixSocket, data, metricsListen } = configOf(annals);
    expect(tcp).toBe(false);
    expect(annals.ports).toMatchObject([{ containerPort: 9464 }]);
    expect(metricsListen).toBe("0.0.0.0:9464");
    const address = service?.env?.find(({ name }) => name === "ANNALS_ADDRESS")?.value;
    expect(address).toBe(`unix:${unixSocket}`);
    const mounts = (container: Container | undefined): string[] =>
      (container?.volumeMounts ?? []).map(({ mountPath }) => mountPath);
    expect(mounts(service).some((path) => unixSocket.startsWith(`${path}/`))).toBe(true);
    expect(mounts(annals).some((path) => unixSocket.startsWith(`${path}/`))).toBe(true);
    expect(mounts(annals).some((path) => data.startsWith(`${path}/`))).toBe(true);
    expect(mounts(service).some((path) => data.startsWith(`${path}/`))).toBe(false);
  });

  test("the server is probed where it listens", ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const pod = podOf(files.server);
    const annals = annalsIn(pod);
    const { host, port, data } = configOf(annals);
    expect(host).toBe("0.0.0.0");
    expect(annals.ports).toMatchObject([{ containerPort: port }]);
    for (const [probe, path] of [
      ["startupProbe", "/readyz"],
      ["readinessProbe", "/readyz"],
      ["livenessProbe", "/healthz"],
    ] as const) {
      expect(annals[probe]?.httpGet, probe).toMatchObject({ path, port });
    }
    expect(annals.volumeMounts?.some(({ mountPath }) => data.startsWith(`${mountPath}/`))).toBe(
      true,
    );
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(stopSecondsMax);
  });

  test("the backup is a command line of annals, into a volume and with a token", ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const objects = found[files.backup] as CronJob[];
    const job = objects.find(({ kind }) => kind === "CronJob");
    if (job === undefined) return expect.unreachable();
    expect(job.spec.concurrencyPolicy).toBe("Forbid");
    const { spec: pod, metadata } = job.spec.jobTemplate.spec.template;
    expect(metadata.labels["annals-client"], "the network policy").toBe("true");
    const [container] = pod.containers;
    const args = container?.args ?? [];
    const help = helpPage("backup") ?? "";
    for (const option of args.filter((each) => each.startsWith("--"))) {
      expect(help).toContain(option);
    }
    const [command, from, to] = args;
    expect([command, from]).toEqual(["backup", "annals:7420"]);
    const tokenFile = args[args.indexOf("--token-file") + 1] ?? "";
    const mounts = (container?.volumeMounts ?? []).map(({ mountPath }) => mountPath);
    expect(mounts).toContain(to);
    expect(mounts.some((path) => tokenFile.startsWith(`${path}/`))).toBe(true);
  });

  test("the cluster of containers has what node.sh asks for, and servers over it", ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const { services } = found[files.cluster] as { services: Record<string, ClusterService> };
    const nodes = ["node1", "node2", "node3"];
    const etcds = ["etcd1", "etcd2", "etcd3"];
    for (const [names, role] of [
      [nodes, "patroni"],
      [etcds, "etcd"],
    ] as const) {
      for (const [i, name] of names.entries()) {
        const { command, environment, volumes } = services[name] as ClusterService;
        expect(command).toEqual([role]);
        expect(environment).toMatchObject({
          NODE: `${i + 1}`,
          ADDRESSES: nodes.join(" "),
          ETCD_ADDRESSES: etcds.join(" "),
          SUPERUSER_PASSWORD: "s",
          REPLICATION_PASSWORD: "r",
        });
        expect(volumes).toMatchObject([{ source: name, target: "/data" }]);
      }
    }
    for (const name of ["server1", "server2"]) {
      const { environment, ports, stop_grace_period } = services[name] as ClusterService;
      expect(ports).toMatchObject([{ host_ip: "127.0.0.1", target: 7420 }]);
      expect(Number.parseInt(stop_grace_period, 10)).toBeGreaterThan(stopSecondsMax);
      const env = Object.entries(environment).map(([key, value]) => ({ name: key, value }));
      expect(configOf({ name, env })).toMatchObject({
        storage: "postgres://annals:a@node1:5432,node2:5432,node3:5432/annals",
        storageRead: "postgres://annals:a@node1:5432,node2:5432,node3:5432/annals",
        advertise: `${name}:7420`,
        storageDurability: "replicated",
        auth: false,
      });
    }
  });

  test("the operator's cluster waits for a standby, and servers find its primary", ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const objects = found[files.cloudNative] as Workload[];
    const [database, deployment] = ["Cluster", "Deployment"].map((wanted) =>
      objects.find(({ kind }) => kind === wanted),
    );
    expect(database).toMatchObject({
      metadata: { name: "events" },
      spec: {
        instances: 3,
        postgresql: { synchronous: { number: 1, dataDurability: "required" } },
      },
    });
    const pod = deployment?.spec.template.spec as Pod;
    const annals = annalsIn(pod);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(stopSecondsMax);
    // What Kubernetes gives, of the secret that the operator makes for its cluster.
    expect(annals.env).toMatchObject([
      { name: "ANNALS_STORAGE", valueFrom: { secretKeyRef: { name: "events-app", key: "uri" } } },
      { name: "ANNALS_STORAGE_DURABILITY" },
      { name: "PGPASSWORD", valueFrom: { secretKeyRef: { name: "events-app", key: "password" } } },
      { name: "ANNALS_STORAGE_READ", value: "postgres://annals@events-ro:5432/annals" },
      { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      { name: "ANNALS_ADVERTISE", value: "$(POD_IP):7420" },
      { name: "ANNALS_AUTH" },
    ]);
    const url = "postgresql://annals:a@events-rw.default:5432/annals";
    const given: Record<string, string> = { ANNALS_STORAGE: url, POD_IP: "10.1.2.3" };
    const env = (annals.env ?? []).map(({ name, value = given[name] ?? "" }) => {
      return { name, value: value.replace("$(POD_IP)", given["POD_IP"] ?? "") };
    });
    const { host, port, ...config } = configOf({ ...annals, env });
    expect(config).toMatchObject({
      storage: url,
      storageDurability: "replicated",
      advertise: "10.1.2.3:7420",
    });
    expect({ host, port }).toEqual({ host: "0.0.0.0", port: 7420 });
    for (const [probe, path] of [
      ["startupProbe", "/readyz"],
      ["readinessProbe", "/readyz"],
      ["livenessProbe", "/healthz"],
    ] as const) {
      expect(annals[probe]?.httpGet, probe).toMatchObject({ path, port });
    }
  });

  test("the sidecar's settings start a server that its own probe finds", async ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const annals = annalsIn(podOf(files.sidecar));
    const folder = mkdtempSync(join(tmpdir(), "annals-deploy-"));
    const mounts = annals.volumeMounts ?? [];
    const probed = await freePort();
    // The pod's paths, moved into a folder of this test.
    const moved = Object.entries(environmentOf(annals)).map(([name, value]) => {
      const isPath = mounts.some(({ mountPath }) => value.startsWith(`${mountPath}/`));
      const here = isPath ? join(folder, value) : value;
      return [name, name === "ANNALS_METRICS_LISTEN" ? `127.0.0.1:${probed}` : here];
    });
    const env = { PATH: process.env["PATH"], ...(Object.fromEntries(moved) as NodeJS.ProcessEnv) };
    const command = ["src/main.ts", "serve"];
    const server = spawn(node, command, {
      cwd: repository,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = once(server, "close");
    const ask = async (probe: "startupProbe" | "livenessProbe"): Promise<number | undefined> => {
      const path = annals[probe]?.httpGet?.path ?? "";
      const answer = await fetch(`http://127.0.0.1:${probed}${path}`).catch(() => undefined);
      return answer?.status;
    };
    try {
      await once(server.stdout, "data");
      expect([await ask("startupProbe"), await ask("livenessProbe")]).toEqual([200, 200]);
      server.kill("SIGTERM");
      expect(await ended).toEqual([0, null]);
      expect(await ask("livenessProbe")).toBeUndefined();
    } finally {
      server.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
