// How the server is: its store, disk, memory, latencies, checks for damage, and limits.

import type { GetInfoResponseJson, LimitsJson } from "../../../src/gen/annals/v1/info_pb.js";
import { agoText, bytesText, durationText, grouped, timeText, wordOf } from "../data/format.ts";
import { CopyButton } from "../parts/copy.tsx";
import { useAsk, type Asked } from "../parts/hooks.ts";
import { Answer } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { metricsText } from "../wire/api.ts";
import { gaugeOf, metricsOf, quantileOf, sumOf, type Metrics } from "../wire/metrics.ts";

export function ServerPage({ info }: { readonly info: Asked<GetInfoResponseJson> }) {
  const asked = useAsk(
    async (signal) => {
      const text = await metricsText(signal);
      return { metrics: text === undefined ? undefined : metricsOf(text) };
    },
    [],
    3_000,
  );
  return (
    <>
      <header class="page-head">
        <h1>Server</h1>
      </header>
      <Answer asked={asked} rows={3}>
        {({ metrics }) =>
          metrics === undefined ? (
            <p class="remark">
              The server does not tell its metrics here: it needs the permission{" "}
              <code>observe</code>, or they are turned off.
            </p>
          ) : (
            <Measured metrics={metrics} />
          )
        }
      </Answer>
      <Answer asked={info}>
        {(value) => (
          <>
            <Store info={value} />
            <Epochs info={value} />
            <Limits limits={value.limits ?? {}} />
          </>
        )}
      </Answer>
    </>
  );
}

interface Tile {
  readonly label: string;
  /** Undefined: the server does not tell it, and it is left out. */
  readonly text: string | undefined;
  readonly isBad?: boolean;
  readonly isSmall?: boolean;
}

/** Of metrics that are there; a store in memory has no disk. */
function tilesOf(metrics: Metrics): Tile[] {
  const value = (name: string): number | undefined => gaugeOf(metrics, name);
  const told = (number: number | undefined, text: (known: number) => string) =>
    number === undefined ? undefined : text(number);
  const commit = (quantile: number) =>
    quantileOf(metrics, "annals_commit_duration_seconds", quantile);
  const findings = value("annals_scrub_findings_total");
  const finished = value("annals_scrub_finished_timestamp_seconds");
  const backedUp = value("annals_backup_finished_timestamp_seconds");
  return [
    { label: "Store on disk", text: told(value("annals_disk_used_bytes"), bytesText) },
    { label: "Disk space left", text: told(value("annals_disk_free_bytes"), bytesText) },
    { label: "Process memory", text: told(value("process_resident_memory_bytes"), bytesText) },
    { label: "Held for clients", text: told(value("annals_client_memory_bytes"), bytesText) },
    { label: "Commit, median", text: told(commit(0.5), durationText) },
    { label: "Commit, 99 of 100", text: told(commit(0.99), durationText) },
    {
      label: "Event loop delay",
      text: told(value("nodejs_eventloop_delay_p99_seconds"), durationText),
    },
    { label: "Append queue", text: told(value("annals_append_queue_entries"), grouped) },
    { label: "gRPC connections", text: told(value("annals_connections"), grouped) },
    {
      label: "Damage found",
      text: told(findings, (count) => (count === 0 ? "none" : grouped(count))),
      isBad: (findings ?? 0) > 0,
    },
    {
      label: "Last whole check",
      text: told(finished, (at) => (at === 0 ? "not finished yet" : agoText(timeOf(at)))),
      isSmall: true,
    },
    {
      label: "Last backup",
      text: told(backedUp, (at) => (at === 0 ? "none yet" : agoText(timeOf(at)))),
      isSmall: true,
    },
  ];
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1_000).toISOString();
}

function Measured({ metrics }: { readonly metrics: Metrics }) {
  return (
    <>
      <dl class="tiles">
        {tilesOf(metrics).map(
          ({ label, text, isBad = false, isSmall = false }) =>
            text !== undefined && (
              <div key={label}>
                <dt>{label}</dt>
                <dd class={isSmall ? "small" : ""}>
                  {isBad ? <span class="badge bad">{text}</span> : text}
                </dd>
              </div>
            ),
        )}
      </dl>
      <Calls metrics={metrics} />
    </>
  );
}

const calls = "rpc_server_call_duration_seconds";

/** The methods that were called, the most frequent first. */
function Calls({ metrics }: { readonly metrics: Metrics }) {
  const counts = metrics.get(`${calls}_count`) ?? [];
  const methods = [...new Set(counts.map(({ labels }) => labels.get("rpc_method") ?? ""))];
  const rows = methods
    .map((method) => {
      const own = counts.filter(({ labels }) => labels.get("rpc_method") === method);
      const failed = own.filter(({ labels }) => (labels.get("error_type") ?? "") !== "");
      const of = (labels: ReadonlyMap<string, string>) => labels.get("rpc_method") === method;
      return {
        method,
        count: sumOf(own),
        failedCount: sumOf(failed),
        median: quantileOf(metrics, calls, 0.5, of),
        p99: quantileOf(metrics, calls, 0.99, of),
      };
    })
    .filter(({ count }) => count > 0)
    .toSorted((one, other) => other.count - one.count);
  if (rows.length === 0) return null;
  const time = (seconds: number | undefined) =>
    seconds === undefined ? "–" : durationText(seconds);
  return (
    <section aria-labelledby="calls">
      <div class="section-head">
        <h2 id="calls">Calls since the start</h2>
      </div>
      <table>
        <thead>
          <tr>
            <th scope="col">Method</th>
            <th scope="col" class="number">
              Calls
            </th>
            <th scope="col" class="number">
              Failed
            </th>
            <th scope="col" class="number minor">
              Median
            </th>
            <th scope="col" class="number minor">
              p99
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ method, count, failedCount, median, p99 }) => (
            <tr key={method}>
              <td class="name">
                <Text>{method.replace("annals.v1.", "")}</Text>
              </td>
              <td class="number">{grouped(count)}</td>
              <td class="number">{grouped(failedCount)}</td>
              <td class="number minor">{time(median)}</td>
              <td class="number minor">{time(p99)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Store({ info }: { readonly info: GetInfoResponseJson }) {
  const { serverVersion, storeId = "", engine, formatVersion, durability, follower } = info;
  return (
    <section class="panel" aria-labelledby="store">
      <div class="panel-head">
        <h2 id="store">Store</h2>
      </div>
      <dl class="facts wide">
        <dt>Server</dt>
        <dd>
          Annals {serverVersion}, started {timeText(info.startedAt)}
        </dd>
        <dt>Store id</dt>
        <dd class="row">
          <code class="break">{storeId}</code>
          <CopyButton label="the store's id" text={storeId} />
        </dd>
        <dt>Created</dt>
        <dd>{timeText(info.createdAt)}</dd>
        <dt>Engine</dt>
        <dd>
          {engine}, format {formatVersion},{" "}
          {durability === "DURABILITY_SYNCED" ? "synced before an answer" : "in memory only"}
        </dd>
        <dt>Writes</dt>
        <dd>{wordOf(info.writeState, "WRITE_STATE_")}</dd>
        {follower !== undefined && (
          <>
            <dt>Copy of</dt>
            <dd>
              {follower.leader}: {wordOf(follower.phase, "FOLLOWER_PHASE_")},{" "}
              {grouped(follower.lagEvents)} events behind
              {(follower.why ?? "") !== "" && (
                <>
                  : <Text>{follower.why ?? ""}</Text>
                </>
              )}
            </dd>
          </>
        )}
        <dt>Backups</dt>
        <dd class="quiet">
          The server knows of those that <code>annals backup HOST:PORT</code> takes from it.{" "}
          <code>annals verify BACKUP</code> tells how old any one is, and whether it is sound.
        </dd>
      </dl>
    </section>
  );
}

function Epochs({ info: { epochs = [] } }: { readonly info: GetInfoResponseJson }) {
  return (
    <section class="panel" aria-labelledby="epochs">
      <div class="panel-head">
        <h2 id="epochs">Histories of the store</h2>
        <span class="quiet">the newest first</span>
      </div>
      <dl class="facts wide">
        {epochs.toReversed().map(({ epoch, cause, afterPosition, beganAt }) => (
          <>
            <dt>
              <code>{epoch}</code>
            </dt>
            <dd>
              {wordOf(cause, "EPOCH_CAUSE_")} after position {grouped(afterPosition)},{" "}
              {timeText(beganAt)}
            </dd>
          </>
        ))}
      </dl>
    </section>
  );
}

/** `eventBytesMax` -> `event bytes max`. */
function limitName(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function Limits({ limits }: { readonly limits: LimitsJson }) {
  return (
    <details class="panel">
      <summary class="panel-head">
        <b>Limits in force</b>
      </summary>
      <dl class="facts wide">
        {Object.entries(limits).map(([name, value]) => (
          <>
            <dt>{limitName(name)}</dt>
            <dd>{/bytes/i.test(name) ? bytesText(Number(value)) : grouped(String(value))}</dd>
          </>
        ))}
      </dl>
    </details>
  );
}
