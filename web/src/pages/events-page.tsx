// The log: its newest events, live, or from a time backwards, by type, tag and prefix of streams.

import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import { grouped } from "../data/format.ts";
import { hashOf, replaceHash, type Place } from "../data/router.ts";
import { filterOf, isEmptyFilter, parametersOf } from "../data/selection.ts";
import { filterSnippets } from "../data/snippets.ts";
import { Tail, type TailView } from "../data/tail.ts";
import { Snippets } from "../parts/copy.tsx";
import { EventList } from "../parts/event-list.tsx";
import { FilterBar } from "../parts/filter-bar.tsx";
import { useKeys, useNow } from "../parts/hooks.ts";
import { Icon } from "../parts/icon.tsx";
import { RateChart } from "../parts/rate-chart.tsx";
import { Empty, Failure, Loading } from "../parts/states.tsx";

/** The tail of the page's filter; another filter is another tail. */
function useTail(parameters: URLSearchParams) {
  const key = parameters.toString();
  const [shown, show] = useState<{ readonly tail: Tail; readonly view: TailView }>();
  const tail = useMemo(() => {
    const made: Tail = new Tail({
      filter: filterOf(parameters),
      until: parameters.get("until") ?? "",
      changed: (view) => show({ tail: made, view }),
    });
    // It asks before the page is drawn, so that the server works meanwhile.
    made.begin();
    return made;
  }, [key]);
  useLayoutEffect(() => {
    const timer = setInterval(() => tail.turn(), 500);
    const seen = (): void => tail.away(document.hidden);
    document.addEventListener("visibilitychange", seen);
    return () => {
      tail.end();
      document.removeEventListener("visibilitychange", seen);
      clearInterval(timer);
    };
  }, [tail]);
  return { tail, view: shown?.tail === tail ? shown.view : undefined };
}

export function EventsPage({ place: { parameters } }: { readonly place: Place }) {
  const { tail, view } = useTail(parameters);
  const [isPaused, setPaused] = useState(false);
  const now = useNow();
  const filter = filterOf(parameters);
  const until = parameters.get("until") ?? "";
  const pause = (): void => {
    tail.pause(!isPaused);
    setPaused(!isPaused);
  };
  useEffect(() => setPaused(false), [tail]);
  useKeys({ p: pause });
  const show = (next: typeof filter, time: string): void =>
    replaceHash(hashOf(["events"], [...parametersOf(next), ["until", time]]));
  return (
    <>
      <header class="page-head">
        <h1>Events</h1>
        {view !== undefined && <TailBadge view={view} isPaused={isPaused} />}
        <div class="spacer" />
        {until === "" && (
          <button type="button" class="button" aria-pressed={isPaused} onClick={pause}>
            <Icon name={isPaused ? "play" : "pause"} />
            {isPaused ? `Resume${waitingText(view)}` : "Pause"}
          </button>
        )}
      </header>
      <div class="toolbar">
        <FilterBar filter={filter} change={(next) => show(next, until)} />
        <label class="row">
          <span class="quiet">Up to</span>
          <input
            type="datetime-local"
            step="1"
            value={localTime(until)}
            onChange={({ currentTarget: { value } }) =>
              show(filter, value === "" ? "" : new Date(value).toISOString())
            }
          />
        </label>
        <Snippets snippets={filterSnippets(filter)} />
      </div>
      {until === "" && (
        <RateChart rates={() => tail.rates} label="Events per second in the last two minutes" />
      )}
      <TailList
        view={view}
        now={now}
        isFiltered={!isEmptyFilter(filter)}
        older={() => {
          // Who goes back does not want to be pushed away by what comes.
          if (!isPaused && until === "") pause();
          return tail.older();
        }}
      />
    </>
  );
}

function waitingText(view: TailView | undefined): string {
  return view === undefined || view.waitingCount === 0
    ? ""
    : ` (${grouped(view.waitingCount)} new)`;
}

/** An RFC 3339 time as an input for local times has it. */
function localTime(time: string): string {
  if (time === "" || Number.isNaN(Date.parse(time))) return "";
  const at = new Date(time);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function TailBadge({ view, isPaused }: { readonly view: TailView; readonly isPaused: boolean }) {
  const { state, arrivedCount } = view;
  if (state === "stopped" || state === "failed") return null;
  const word = isPaused && state === "live" ? "paused" : state;
  const kind = state === "live" ? (isPaused ? "warn" : "good live") : "warn";
  return (
    <span class={`badge ${kind}`} role="status">
      {word}
      {arrivedCount > 0 && state === "live" && <span> · {grouped(arrivedCount)} new</span>}
    </span>
  );
}

interface TailListProps {
  readonly view: TailView | undefined;
  readonly now: number;
  readonly isFiltered: boolean;
  readonly older: () => Promise<void>;
}

function TailList({ view, now, isFiltered, older }: TailListProps) {
  const [isReading, setReading] = useState(false);
  if (view === undefined || (view.state === "loading" && view.failure === undefined)) {
    return <Loading label="Reading events" />;
  }
  const { events, epoch, failure, isAtStart, state } = view;
  const readOlder = async (): Promise<void> => {
    setReading(true);
    await older();
    setReading(false);
  };
  return (
    <>
      {failure !== undefined && <Failure failure={failure} />}
      {events.length === 0 && failure === undefined && (
        <Empty title={isFiltered ? "No event matches" : "The store has no events yet"}>
          {state === "live" && <p>New ones are shown here as soon as they are stored.</p>}
        </Empty>
      )}
      <EventList events={events} epoch={epoch} now={now} label="Events, the newest first" />
      {!isAtStart && events.length > 0 && (
        <button
          type="button"
          class="button more"
          disabled={isReading}
          onClick={() => void readOlder()}
        >
          {isReading ? "Reading…" : "Older events"}
        </button>
      )}
    </>
  );
}
