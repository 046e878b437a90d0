// Operations and Monitoring, for the scripts of operators. What they start by hand happens here by
// itself: the space of removed events is reclaimed all the time, and there are no indexes to merge.

import { freemem, loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import {
  Monitoring,
  StatsRespSchema,
  type StatsReq,
  type StatsResp,
} from "../../gen/event_store/client/monitoring/monitoring_pb.js";
import {
  Operations,
  ScavengeRespSchema,
  ScavengeResp_ScavengeResult as Result,
} from "../../gen/event_store/client/operations/operations_pb.js";
import type { Empty } from "../../gen/event_store/client/shared_pb.js";
import type { Call } from "../../grpc/transport/call-environment.ts";
import { handling, type BoundService } from "../../grpc/transport/methods.ts";
import type { LogContext } from "./mapping/context.ts";
import { noScavenge } from "./mapping/errors.ts";
import { judged, managesEverything, observes, permit } from "./mapping/permissions.ts";

/** The id of the only scavenge there is: reclaiming, which never ends. */
const scavengeId = "reclaiming";

const nothing: Empty = { $typeName: "event_store.client.Empty" };

export function operations({ log }: LogContext): BoundService {
  return handling(
    Operations,
    {
      startScavenge: (_, call) => {
        permit(call, managesEverything);
        const isOn = log.info().reclaiming !== undefined;
        const scavengeResult = isOn ? Result.InProgress : Result.Stopped;
        return create(ScavengeRespSchema, { scavengeId, scavengeResult });
      },
      stopScavenge: ({ options }, call) => {
        permit(call, managesEverything);
        throw noScavenge(options?.scavengeId ?? "");
      },
      mergeIndexes: () => nothing,
      restartPersistentSubscriptions: () => nothing,
    },
    {
      startScavenge: judged,
      stopScavenge: judged,
      mergeIndexes: judged,
      restartPersistentSubscriptions: judged,
    },
  );
}

const periodMsMin = 100;
const periodMsMax = 3_600_000;

export function monitoring(context: LogContext): BoundService {
  return handling(
    Monitoring,
    { stats: (request, call) => stats(context, request, call) },
    { stats: judged },
  );
}

async function* stats(
  { log }: LogContext,
  { refreshTimePeriodInMs: period }: StatsReq,
  call: Call,
): AsyncGenerator<StatsResp> {
  permit(call, observes);
  const periodMs = Math.min(Math.max(Number(period), periodMsMin), periodMsMax);
  const startTime = new Date(Date.now() - process.uptime() * 1_000).toISOString();
  let since = performance.now();
  let usage = process.cpuUsage();
  while (!call.aborted) {
    await sleep(periodMs, undefined, { signal: call.signal }).catch(() => {});
    if (call.aborted) break;
    const { user, system } = process.cpuUsage(usage);
    const now = performance.now();
    const percent = (user + system) / 10 / (now - since);
    [since, usage] = [now, process.cpuUsage()];
    yield create(StatsRespSchema, {
      stats: {
        "proc-id": `${process.pid}`,
        "proc-startTime": startTime,
        "proc-mem": `${process.memoryUsage.rss()}`,
        "proc-cpu": percent.toFixed(1),
        "sys-freeMem": `${freemem()}`,
        "sys-loadavg-1m": (loadavg()[0] ?? 0).toFixed(2),
        "annals-head": `${log.info().head}`,
      },
    });
  }
  if (call.reason !== undefined) throw call.reason;
}
