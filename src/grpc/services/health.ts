// grpc.health.v1, for load balancers, container health checks and clients. All services have one
// state: serving, until the server stops or the store cannot be written any more.

import { create } from "@bufbuild/protobuf";
import { AnnalsError } from "../../domain/errors.ts";
import {
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  type Health,
  type HealthCheckResponse,
} from "../../gen/grpc/health/v1/health_pb.js";
import type { Handlers } from "../transport/methods.ts";
import type { Call, Stopping } from "../transport/call-environment.ts";
import { StatusCode, StatusError } from "../transport/status.ts";

/** Whether the services serve, with watchers of changes. */
export class HealthState {
  private readonly watchers = new Set<() => void>();
  private isServing = true;

  get serving(): boolean {
    return this.isServing;
  }

  set(serving: boolean): void {
    if (serving === this.isServing) return;
    this.isServing = serving;
    for (const watcher of this.watchers) watcher();
  }

  /** Returns a function that ends the watch. */
  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
}

/** `services`: full names; the empty name means the server as a whole. */
export function healthService(
  state: HealthState,
  services: readonly string[],
  stopping: Stopping,
): Handlers<typeof Health> {
  const known = new Set(["", ...services]);
  const statusOf = (service: string): ServingStatus => {
    if (!known.has(service)) return ServingStatus.SERVICE_UNKNOWN;
    return state.serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  };
  const answer = (status: ServingStatus): HealthCheckResponse =>
    create(HealthCheckResponseSchema, { status });
  return {
    check({ service }) {
      if (known.has(service)) return answer(statusOf(service));
      throw new StatusError(StatusCode.NOT_FOUND, `there is no service ${JSON.stringify(service)}`);
    },
    list() {
      const statuses = [...known].map((service) => [service, answer(statusOf(service))] as const);
      return create(HealthListResponseSchema, { statuses: Object.fromEntries(statuses) });
    },
    async *watch({ service }, call) {
      for await (const status of changes(() => statusOf(service), state, stopping, call)) {
        yield answer(status);
      }
    },
  };
}

/** The present status, and each different status later, until the call ends or the server stops. */
async function* changes(
  statusNow: () => ServingStatus,
  state: HealthState,
  stopping: Stopping,
  { signal }: Call,
): AsyncGenerator<ServingStatus> {
  let wake = (): void => {};
  const notify = (): void => wake();
  const unwatch = [state.watch(notify), stopping.watch(notify)];
  signal.addEventListener("abort", notify, { once: true });
  try {
    let told: ServingStatus | undefined;
    while (!signal.aborted) {
      const now = statusNow();
      if (now !== told) {
        told = now;
        yield now;
        continue;
      }
      if (stopping.begun) throw new AnnalsError({ reason: "STOPPING" }, "the server is stopping");
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    for (const end of unwatch) end();
  }
}
