// The first page: how much is stored, what comes in, what lags behind, and the newest events.

import { useEffect, useRef } from "preact/hooks";
import type { GetInfoResponseJson } from "../../../src/gen/annals/v1/info_pb.js";
import { readPage } from "../data/events.ts";
import { agoText, grouped, secondsOf, durationText, wordOf } from "../data/format.ts";
import { HeadRates } from "../data/head-rates.ts";
import { EventList } from "../parts/event-list.tsx";
import { useAsk, useNow, type Asked } from "../parts/hooks.ts";
import { Icon } from "../parts/icon.tsx";
import { RateChart } from "../parts/rate-chart.tsx";
import { Answer, Empty } from "../parts/states.tsx";
import { api } from "../wire/api.ts";
import { GroupTable } from "./groups-page.tsx";

const newestEvents = 10;

export function OverviewPage({ info }: { readonly info: Asked<GetInfoResponseJson> }) {
  const head = useAsk((signal) => api.info(signal), ["head"], 1_000);
  const rates = useRef(new HeadRates());
  useEffect(() => {
    if (head.value !== undefined) rates.current.saw(Number(head.value.head ?? 0), Date.now());
  }, [head.value]);
  return (
    <>
      <header class="page-head">
        <h1>Overview</h1>
      </header>
      <Answer asked={info} rows={1}>
        {(value) => <Tiles info={head.value ?? value} />}
      </Answer>
      <RateChart
        rates={() => rates.current.rates}
        label="Events per second over the whole store in the last two minutes"
        height={130}
      />
      <Groups />
      <Newest head={head.value?.head ?? ""} />
    </>
  );
}

function Tiles({ info }: { readonly info: GetInfoResponseJson }) {
  const now = useNow(5_000);
  const { head, writeState, subscriberCount, startedAt, follower } = info;
  const isGood = writeState === "WRITE_STATE_ACCEPTING" || writeState === "WRITE_STATE_FOLLOWING";
  return (
    <dl class="tiles">
      <div>
        <dt>Last position</dt>
        <dd>{grouped(head)}</dd>
      </div>
      <div>
        <dt>Writes</dt>
        <dd class="small">
          <span class={`badge ${isGood ? "good" : "bad"}`}>
            {wordOf(writeState, "WRITE_STATE_")}
          </span>
        </dd>
      </div>
      {follower !== undefined && (
        <div>
          <dt>Behind its leader</dt>
          <dd class="small">
            {grouped(follower.lagEvents)} events, {durationText(secondsOf(follower.lag))}
          </dd>
        </div>
      )}
      <div>
        <dt>Subscriptions</dt>
        <dd>{grouped(subscriberCount)}</dd>
      </div>
      <div>
        <dt>Server started</dt>
        <dd class="small">{agoText(startedAt, now)}</dd>
      </div>
    </dl>
  );
}

/** Who may not see groups sees the page without them. */
function Groups() {
  const asked = useAsk((signal) => api.groups({ pageSize: 5 }, signal), [], 3_000);
  const groups = asked.value?.groups ?? [];
  if (groups.length === 0) return null;
  return (
    <section aria-labelledby="groups">
      <div class="section-head">
        <h2 id="groups">Consumer groups</h2>
        <div class="spacer" />
        <a href="#/groups">All groups</a>
      </div>
      <GroupTable groups={groups} />
    </section>
  );
}

function Newest({ head }: { readonly head: string }) {
  const now = useNow();
  const request = { direction: "DIRECTION_BACKWARDS" as const, limit: `${newestEvents}` };
  const asked = useAsk((signal) => readPage(request, signal), []);
  // The list is read anew with the head, and the last one stays until it is here.
  const seen = useRef(head);
  useEffect(() => {
    if (head === seen.current) return;
    seen.current = head;
    asked.reload();
  }, [head, asked.reload]);
  return (
    <section aria-labelledby="newest">
      <div class="section-head">
        <h2 id="newest">Newest events</h2>
        <div class="spacer" />
        <a href="#/events">
          All events, live <Icon name="chevron" />
        </a>
      </div>
      <Answer asked={asked}>
        {({ events, epoch }) =>
          events.length === 0 ? (
            <Empty title="The store has no events yet">
              <p>
                Append one, for example with{" "}
                <code>annals append user-1 UserRegistered '{`{"name":"Ann"}`}'</code>.
              </p>
            </Empty>
          ) : (
            <EventList events={events} epoch={epoch} now={now} label="The newest events" />
          )
        }
      </Answer>
    </section>
  );
}
