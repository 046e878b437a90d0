// Counts calls: how long they took, by method and status, and how large they were. This is the only
// part of the metrics that costs something in each call: a look-up and three additions.

import { Histogram } from "../domain/histogram.ts";
import type { CallEnd, CallObserver, ObservedCall } from "../grpc/transport/call-observer.ts";
import { StatusCode, statusName } from "../grpc/transport/status.ts";
import { counter, histogram, type Family, type Labels } from "./family.ts";

/** Those of OpenTelemetry, and finer ones below: most calls take about one sync of the disk. */
const secondsBounds = [
  0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5,
  10,
];
const KiB = 1024;
const bytesBounds = [256, KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, KiB * KiB, 4 * KiB * KiB];

/** Limits that end connections, by their own names; what is else wrong with one, by its kind. */
const refusalKinds = /^(\w+)(?:$|:)/;

interface Method {
  readonly labels: Labels;
  /** By status code. */
  readonly seconds: (Histogram | undefined)[];
  readonly requestBytes: Histogram;
  readonly answerBytes: Histogram;
}

export class CallMetrics implements CallObserver {
  /** By path: there are only those of the table of methods. */
  private readonly methods = new Map<string, Method>();
  private readonly refusals = new Map<string, number>();

  ended({ path }: ObservedCall, { code, ms, requestBytes, answerBytes }: CallEnd): void {
    const method = this.methods.get(path) ?? this.begin(path);
    const seconds = (method.seconds[code] ??= new Histogram(secondsBounds));
    seconds.record(ms / 1_000);
    method.requestBytes.record(requestBytes);
    method.answerBytes.record(answerBytes);
  }

  refused(reason: string): void {
    const kind = refusalKinds.exec(reason)?.[1] ?? "protocol";
    this.refusals.set(kind, (this.refusals.get(kind) ?? 0) + 1);
  }

  families(): Family[] {
    const methods = [...this.methods.values()];
    const durations = methods.flatMap(({ labels, seconds }) =>
      seconds.flatMap((each, code) =>
        each === undefined
          ? []
          : [[statusLabels(labels, code as StatusCode), each.snapshot()] as const],
      ),
    );
    const refusals = [...this.refusals].map(([reason, count]) => [{ reason }, count] as const);
    return [
      histogram("rpc_server_call_duration_seconds", "How long calls took.", durations),
      histogram(
        "annals_rpc_request_size_bytes",
        "Bytes of a call's request, or of all its requests.",
        methods.map(({ labels, requestBytes }) => [labels, requestBytes.snapshot()]),
      ),
      histogram(
        "annals_rpc_response_size_bytes",
        "Bytes of a call's answer, or of all its answers.",
        methods.map(({ labels, answerBytes }) => [labels, answerBytes.snapshot()]),
      ),
      counter(
        "annals_connections_refused_total",
        "Connections that were refused or ended, by the limit or the fault.",
        refusals,
      ),
    ];
  }

  private begin(path: string): Method {
    const method: Method = {
      labels: { rpc_system_name: "grpc", rpc_method: path.slice(1) },
      seconds: [],
      requestBytes: new Histogram(bytesBounds),
      answerBytes: new Histogram(bytesBounds),
    };
    this.methods.set(path, method);
    return method;
  }
}

/** `error_type` only of calls that failed, as the conventions say. */
function statusLabels(labels: Labels, code: StatusCode): Labels {
  const name = statusName(code);
  const status = { ...labels, rpc_status_code: name };
  return code === StatusCode.OK ? status : { ...status, error_type: name };
}
