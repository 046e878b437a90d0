// The events of a stream in the order of their versions, a page at a time.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { StreamInfoJson } from "../../../src/gen/annals/v1/info_pb.js";
import { readPage, type ShownEvent } from "../data/events.ts";
import { grouped } from "../data/format.ts";
import { go, streamHash } from "../data/router.ts";
import { EventList } from "../parts/event-list.tsx";
import { useNow } from "../parts/hooks.ts";
import { Empty, Failure, Loading } from "../parts/states.tsx";
import { failureOf, isAborted, type CallFailure } from "../wire/call-failure.ts";
import { onTokenChange } from "../wire/token.ts";

const pageEvents = 100;

interface EventsProps {
  readonly stream: StreamInfoJson;
  /** The version to begin at and to open. Empty: the newest. */
  readonly at: string;
}

export function StreamEvents({ stream, at }: EventsProps) {
  const { stream: name = "", version = "0" } = stream;
  const [isNewestFirst, setNewestFirst] = useState(true);
  const [withRemoved, setWithRemoved] = useState(at !== "");
  const { events, epoch, isLoading, failure, isAtEnd, more, reload } = useStreamPages({
    name,
    at,
    isNewestFirst,
    withRemoved,
  });
  const now = useNow();
  const newest = isNewestFirst && at === "" ? BigInt(events[0]?.version ?? "0") : BigInt(version);
  const arrived = BigInt(version) - newest;
  const opened = events.find((event) => event.version === at)?.position;
  return (
    <>
      <div class="toolbar">
        <div class="tabs small" role="group" aria-label="Order of the events">
          <button type="button" aria-pressed={isNewestFirst} onClick={() => setNewestFirst(true)}>
            Newest first
          </button>
          <button type="button" aria-pressed={!isNewestFirst} onClick={() => setNewestFirst(false)}>
            Oldest first
          </button>
        </div>
        <JumpToVersion name={name} version={version} />
        <label class="row">
          <input
            type="checkbox"
            checked={withRemoved}
            onChange={({ currentTarget }) => setWithRemoved(currentTarget.checked)}
          />
          With removed events
        </label>
        {at !== "" && (
          <a class="button" href={streamHash(name)}>
            All events
          </a>
        )}
      </div>
      {arrived > 0n && events.length > 0 && (
        <button type="button" class="button more" onClick={reload}>
          Show {grouped(arrived)} new
        </button>
      )}
      {failure !== undefined && <Failure failure={failure} retry={reload} />}
      {isLoading && events.length === 0 && <Loading label="Reading events" />}
      {!isLoading && events.length === 0 && failure === undefined && (
        <Empty title="No events are left">
          <p>
            They were removed by the stream's policy or its deletion. Versions go on where they
            were.
          </p>
        </Empty>
      )}
      <EventList
        key={opened ?? ""}
        events={events}
        epoch={epoch}
        now={now}
        isOneStream
        {...(opened !== undefined && { opened })}
        label="Events of the stream"
      />
      {!isAtEnd && events.length > 0 && (
        <button type="button" class="button more" disabled={isLoading} onClick={more}>
          {isLoading ? "Reading…" : "More events"}
        </button>
      )}
    </>
  );
}

function JumpToVersion({ name, version }: { readonly name: string; readonly version: string }) {
  const [text, setText] = useState("");
  const jump = (event: Event): void => {
    event.preventDefault();
    if (/^[1-9]\d*$/.test(text)) go(streamHash(name, "", [["at", text]]));
  };
  return (
    <form class="row" onSubmit={jump}>
      <input
        class="short"
        inputMode="numeric"
        pattern="[1-9][0-9]*"
        aria-label="Go to a version"
        placeholder={`Version 1–${grouped(version)}`}
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
      />
    </form>
  );
}

interface PagesInput {
  readonly name: string;
  readonly at: string;
  readonly isNewestFirst: boolean;
  readonly withRemoved: boolean;
}

function useStreamPages({ name, at, isNewestFirst, withRemoved }: PagesInput) {
  const [events, setEvents] = useState<readonly ShownEvent[]>([]);
  const [epoch, setEpoch] = useState("");
  const [isLoading, setLoading] = useState(true);
  const [isAtEnd, setAtEnd] = useState(false);
  const [failure, setFailure] = useState<CallFailure>();
  const [round, setRound] = useState(0);
  const abort = useRef<AbortController>(undefined);
  const load = useCallback(
    async (before: readonly ShownEvent[]): Promise<void> => {
      abort.current?.abort();
      const { signal } = (abort.current = new AbortController());
      setLoading(true);
      setFailure(undefined);
      const next = nextVersion(before, at, isNewestFirst);
      const request = {
        stream: name,
        direction: isNewestFirst
          ? ("DIRECTION_BACKWARDS" as const)
          : ("DIRECTION_FORWARDS" as const),
        ...(next !== undefined && { fromVersion: next }),
        limit: `${pageEvents}`,
        withRemoved,
      };
      try {
        const page = next === "0" ? { events: [], epoch: "" } : await readPage(request, signal);
        if (signal.aborted) return;
        setEvents([...before, ...page.events]);
        if (page.epoch !== "") setEpoch(page.epoch);
        setAtEnd(page.events.length < pageEvents);
      } catch (error) {
        if (isAborted(error) || signal.aborted) return;
        setFailure(failureOf(error));
      }
      setLoading(false);
    },
    [name, at, isNewestFirst, withRemoved],
  );
  useLayoutEffect(() => {
    setEvents([]);
    void load([]);
    return () => abort.current?.abort();
  }, [load, round]);
  const reload = useCallback(() => setRound((count) => count + 1), []);
  useEffect(() => onTokenChange(reload), [reload]);
  return { events, epoch, isLoading, isAtEnd, failure, more: () => void load(events), reload };
}

/** Undefined: from the first in that direction. "0": there is nothing left to read. */
function nextVersion(
  before: readonly ShownEvent[],
  at: string,
  isNewestFirst: boolean,
): string | undefined {
  const last = before.at(-1);
  if (last === undefined) return /^[1-9]\d*$/.test(at) ? at : undefined;
  const next = BigInt(last.version) + (isNewestFirst ? -1n : 1n);
  return `${next}`;
}
