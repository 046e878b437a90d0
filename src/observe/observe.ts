// What is going on, for those who operate a server: its metrics and the routes for probes. The
// parts of the server keep figures of themselves; they are put together here when somebody looks.

import type { AccessControl } from "../access/access-control.ts";
import { AnnalsError, type Reason } from "../domain/errors.ts";
import { failure, type HttpRequest, type Route, type Routes } from "../http/http-server.ts";
import type { ClientMemory } from "../log/scheduling/client-memory.ts";
import type { Scheduler } from "../log/scheduling/scheduler.ts";
import type { EventLog } from "../log/verbs.ts";
import type { Storage } from "../storage/storage.ts";
import { observing } from "../access/requirements.ts";
import type { CallMetrics } from "./call-metrics.ts";
import { expose } from "./exposition.ts";
import { gauge, type Family } from "./family.ts";
import { healthz, readyz, type Probed } from "./probes.ts";
import { ProcessFamilies } from "./process-families.ts";
import { groupFamilies, groupsToldMax, storeFamilies } from "./store-families.ts";

export interface Observed extends Probed {
  readonly version: string;
  /** Undefined: calls are not counted, and there is no `/metrics`. */
  readonly calls: CallMetrics | undefined;
  readonly log: EventLog;
  readonly storage: Storage;
  readonly memory: ClientMemory;
  readonly scheduler: Scheduler;
  readonly connections: () => number;
  /** Milliseconds since 1970. Undefined: there is no certificate. */
  readonly certificateEndsMs: () => number | undefined;
  readonly warn: (message: string, error: unknown) => void;
}

/** A look soon after another one is answered with the same. */
const keptMs = 1_000;
/** Looking at groups and files costs reads. */
const seldomMs = 10_000;

export class Observation {
  private readonly observed: Observed;
  private readonly process = new ProcessFamilies();
  private readonly families: () => Promise<Family[]>;
  private readonly groups: () => Promise<Family[]>;

  constructor(observed: Observed) {
    this.observed = observed;
    this.families = askedSeldom(keptMs, () => this.look());
    this.groups = askedSeldom(seldomMs, () => this.lookAtGroups());
  }

  /** `access`: whom `/metrics` answers; undefined: everybody. */
  routes(access: AccessControl | undefined): Routes {
    const { observed } = this;
    const probes: [string, Route][] = [
      ["/healthz", healthz(observed)],
      ["/readyz", readyz(observed)],
    ];
    if (observed.calls === undefined) return new Map(probes);
    return new Map([...probes, ["/metrics", admitted(access, (request) => this.metrics(request))]]);
  }

  close(): void {
    this.process.close();
  }

  private async metrics({ accept }: HttpRequest) {
    const { type, text } = await expose(await this.families(), accept);
    return { status: 200, type, body: text };
  }

  private async look(): Promise<Family[]> {
    const { log, storage, calls } = this.observed;
    const [store, groups] = await Promise.all([storeFamilies(log, storage), this.groups()]);
    return [
      ...this.server(),
      ...(calls?.families() ?? []),
      ...store,
      ...groups,
      ...this.process.families(),
    ];
  }

  private server(): Family[] {
    const { version, storage, memory, scheduler, connections, certificateEndsMs } = this.observed;
    const { engine, formatVersion } = storage.identity;
    const build = { version, node: process.version, engine, format: `${formatVersion}` };
    const endsMs = certificateEndsMs();
    return [
      gauge("annals_build_info", "1, with what runs.", [[build, 1]]),
      gauge("annals_told_timestamp_seconds", "When these figures were taken.", Date.now() / 1_000),
      gauge("annals_connections", "Open connections by HTTP/2.", connections()),
      gauge("annals_client_memory_bytes", "Held for clients.", memory.bytes),
      gauge("annals_client_memory_limit_bytes", "The most of it.", memory.bytesMax),
      gauge(
        "annals_read_queue_pieces",
        "Pieces of reads and lists that wait for their turn.",
        scheduler.waitingCount,
      ),
      ...(endsMs === undefined
        ? []
        : [
            gauge(
              "annals_certificate_ends_timestamp_seconds",
              "When the server's certificate ends.",
              endsMs / 1_000,
            ),
          ]),
    ];
  }

  /** Without them the other metrics are still told. */
  private async lookAtGroups(): Promise<Family[]> {
    const { log, warn, isStopping } = this.observed;
    try {
      const page = { prefix: "", after: "", limit: groupsToldMax };
      return groupFamilies(await log.groups.list(page, AbortSignal.timeout(seldomMs / 2)));
    } catch (error) {
      if (!isStopping()) warn("the metrics of consumer groups could not be taken", error);
      return [];
    }
  }
}

/** Asks at most once in so many milliseconds, and not while it is being asked. */
function askedSeldom<T>(ms: number, ask: () => Promise<T>): () => Promise<T> {
  let known: Promise<T> | undefined;
  let untilMs = 0;
  return () => {
    if (known === undefined || performance.now() >= untilMs) {
      untilMs = Infinity;
      const asked = ask();
      const settled = (): void => void (untilMs = performance.now() + ms);
      asked.then(settled, settled);
      known = asked;
    }
    return known;
  };
}

const statuses: Partial<Record<Reason, number>> = {
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  OVERLOADED: 429,
};

/** Answers those who may `observe`. */
function admitted(access: AccessControl | undefined, route: Route): Route {
  if (access === undefined) return route;
  return async (request) => {
    try {
      const visitor = { ...request, methodName: "GET /metrics", isStream: false, revoke() {} };
      const admission = access.admit(visitor, observing);
      await admission.ready;
      admission.permit(undefined);
      admission.leave("done");
    } catch (error) {
      const status = error instanceof AnnalsError ? statuses[error.reason] : undefined;
      if (status === undefined) throw error;
      const headers = status === 401 ? { "www-authenticate": "Bearer" } : {};
      return { ...failure(status, (error as Error).message), headers };
    }
    return route(request);
  };
}
