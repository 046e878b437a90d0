// The state of a stream at any of its versions, with what changed since another version.

import { useMemo, useState } from "preact/hooks";
import { differences, type DifferenceLine } from "../data/difference.ts";
import { readJson } from "../data/exact-json.ts";
import { counted, grouped, timeText } from "../data/format.ts";
import { replaceHash, streamHash } from "../data/router.ts";
import { stateSnippets } from "../data/snippets.ts";
import { CopyButton, Snippets } from "../parts/copy.tsx";
import { useAsk, useKeys, useSettled } from "../parts/hooks.ts";
import { JsonTree, LongText } from "../parts/json-tree.tsx";
import { Answer } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { api } from "../wire/api.ts";

interface StateProps {
  readonly stream: string;
  /** The stream's version. */
  readonly version: string;
  readonly parameters: URLSearchParams;
}

/** Versions are numbers here: a slider has no others, and they stay below 2^53. */
export function StateTab({ stream, version, parameters }: StateProps) {
  const last = Number(version);
  const given = Number(parameters.get("at") ?? last);
  const start = Number.isInteger(given) && given >= 1 && given <= last ? given : last;
  const [at, setAt] = useState(start);
  const [base, setBase] = useState(() => Number(parameters.get("with") ?? Math.max(0, start - 1)));
  const [isCompared, setCompared] = useState(parameters.has("with"));
  const settled = useSettled(at, 60);
  const show = (next: number, other: number, compared: boolean): void => {
    const to = Math.max(1, Math.min(last, next));
    setAt(to);
    setBase(other);
    setCompared(compared);
    const parts: [string, string][] = [["at", `${to}`]];
    if (compared) parts.push(["with", `${other}`]);
    replaceHash(streamHash(stream, "state", parts));
  };
  useKeys({
    ArrowLeft: () => show(at - 1, base, isCompared),
    ArrowRight: () => show(at + 1, base, isCompared),
  });
  if (last === 0) return <p class="quiet">The stream has no events, and so no state.</p>;
  return (
    <>
      <div class="toolbar">
        <label class="slider">
          <span>
            Version <b>{grouped(at)}</b> of {grouped(last)}
          </span>
          <input
            type="range"
            min={1}
            max={last}
            value={at}
            onInput={({ currentTarget }) => show(Number(currentTarget.value), base, isCompared)}
          />
        </label>
        <div class="tabs small" role="group" aria-label="What to show">
          <button type="button" aria-pressed={!isCompared} onClick={() => show(at, base, false)}>
            State
          </button>
          <button type="button" aria-pressed={isCompared} onClick={() => show(at, base, true)}>
            Changes
          </button>
        </div>
        {isCompared && (
          <label class="row">
            since version
            <input
              class="short"
              type="number"
              min={0}
              max={last}
              value={base}
              onInput={({ currentTarget }) => show(at, Number(currentTarget.value), true)}
            />
            <button type="button" class="button small" onClick={() => show(at, at - 1, true)}>
              the one before
            </button>
          </label>
        )}
        <Snippets snippets={stateSnippets(stream, `${at}`)} />
      </div>
      {isCompared ? (
        <Changes stream={stream} from={base} to={settled} />
      ) : (
        <StateAt stream={stream} version={settled} />
      )}
    </>
  );
}

/** Version 0 is the state before the first event. */
async function stateAt(stream: string, version: number, signal: AbortSignal) {
  if (version < 1) return { stateJson: "null" };
  return api.state(stream, `${version}`, signal);
}

function StateAt({ stream, version }: { readonly stream: string; readonly version: number }) {
  const asked = useAsk(
    async (signal) => ({ version, state: await stateAt(stream, version, signal) }),
    [stream, version],
  );
  // While the slider moves, the last state stays in view.
  const [kept, keep] = useState(asked.value);
  if (asked.value !== undefined && asked.value !== kept) keep(asked.value);
  const shown = asked.value ?? (asked.failure === undefined ? kept : undefined);
  return (
    <Answer asked={{ ...asked, value: shown }}>
      {({ state }) => <StatePanel stream={stream} state={state} />}
    </Answer>
  );
}

type State = Partial<Awaited<ReturnType<typeof api.state>>>;

function StatePanel({ stream, state }: { readonly stream: string; readonly state: State }) {
  const { stateJson = "null", version = "0", recordedAt, appliedCount, skippedCount = "0" } = state;
  const value = useMemo(() => readJson(stateJson), [stateJson]);
  const { missingThrough = "0" } = state;
  return (
    <section class="panel" aria-label={`State at version ${version}`}>
      <div class="panel-head">
        <a href={streamHash(stream, "", [["at", version]])}>Version {grouped(version)}</a>
        <span class="quiet">
          {timeText(recordedAt)} · {counted(appliedCount, "event")} applied
          {skippedCount !== "0" && `, ${grouped(skippedCount)} skipped (not JSON)`}
        </span>
        <div class="spacer" />
        <CopyButton label="the state" text={stateJson} />
      </div>
      {missingThrough !== "0" && (
        <p class="remark">
          A policy has removed events up to version {grouped(missingThrough)}. The state lacks what
          they did.
        </p>
      )}
      {value === undefined ? (
        <pre class="payload-text">
          <LongText text={stateJson} hasLines />
        </pre>
      ) : (
        <JsonTree value={value} />
      )}
    </section>
  );
}

interface ChangesProps {
  readonly stream: string;
  readonly from: number;
  readonly to: number;
}

function Changes({ stream, from, to }: ChangesProps) {
  const asked = useAsk(
    async (signal) => {
      const states = [from, to].map((version) => stateAt(stream, version, signal));
      const [before, after] = await Promise.all(states);
      return differences(readJson(before?.stateJson ?? ""), readJson(after?.stateJson ?? ""));
    },
    [stream, from, to],
  );
  return (
    <Answer asked={asked}>
      {(lines) => (
        <section class="panel" aria-label={`Changes from version ${from} to version ${to}`}>
          <Lines lines={lines} />
        </section>
      )}
    </Answer>
  );
}

const linesMax = 500;
const signs = { same: " ", added: "+", removed: "−" } as const;
const words = { same: "", added: "added", removed: "removed" } as const;

function Lines({ lines }: { readonly lines: readonly DifferenceLine[] }) {
  if (lines.every(({ kind }) => kind === "same")) return <p class="quiet">Nothing changed.</p>;
  return (
    <div class="json difference">
      {lines.slice(0, linesMax).map(({ kind, depth, name, text }, index) => (
        <div key={index} class={`json-line depth-${Math.min(depth, 8)} ${kind}`}>
          <span class="sign" aria-label={words[kind]}>
            {signs[kind]}
          </span>
          {name !== "" && (
            <>
              <span class="json-name">
                <Text>{name}</Text>
              </span>
              <span class="json-mark">: </span>
            </>
          )}
          <Text>{text.length > 2_000 ? `${text.slice(0, 2_000)}…` : text}</Text>
        </div>
      ))}
      {lines.length > linesMax && (
        <p class="quiet">{grouped(lines.length - linesMax)} more lines</p>
      )}
    </div>
  );
}
