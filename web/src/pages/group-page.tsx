// One consumer group: its progress, its members, and its parked events, which can be replayed or
// discarded.

import { useState } from "preact/hooks";
import type {
  GroupJson,
  ParkedEventJson,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { shownEvent } from "../data/events.ts";
import { agoText, counted, durationText, grouped, secondsOf, timeText } from "../data/format.ts";
import { eventHash, type Place } from "../data/router.ts";
import { Confirm } from "../parts/confirm.tsx";
import { EventDetail } from "../parts/event-detail.tsx";
import { useAsk } from "../parts/hooks.ts";
import { PageList } from "../parts/page-list.tsx";
import { Answer, Empty } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { usePages } from "../parts/use-pages.ts";
import { api } from "../wire/api.ts";

export function GroupPage({ place }: { readonly place: Place }) {
  const [, name = ""] = place.path;
  const asked = useAsk((signal) => api.group(name, signal), [name], 2_000);
  return (
    <>
      <header class="page-head">
        <h1 class="break">
          <Text>{name}</Text>
        </h1>
        <span class="quiet">consumer group</span>
      </header>
      <Answer asked={asked}>
        {({ group = {} }) => (
          <>
            <Progress group={group} />
            <Settings group={group} />
            <Members group={group} />
            <Parked name={name} parkedCount={group.parkedCount ?? "0"} changed={asked.reload} />
          </>
        )}
      </Answer>
    </>
  );
}

function Progress({ group }: { readonly group: GroupJson }) {
  const { position, lagEvents, lag, inFlightCount, memberCount, parkedCount } = group;
  return (
    <dl class="tiles">
      <div>
        <dt>Lag</dt>
        <dd>{grouped(lagEvents)}</dd>
      </div>
      <div>
        <dt>Oldest unsettled</dt>
        <dd>{lag === undefined ? "–" : durationText(secondsOf(lag))}</dd>
      </div>
      <div>
        <dt>In flight</dt>
        <dd>{grouped(inFlightCount)}</dd>
      </div>
      <div>
        <dt>Members</dt>
        <dd>{grouped(memberCount)}</dd>
      </div>
      <div>
        <dt>Parked</dt>
        <dd>{grouped(parkedCount)}</dd>
      </div>
      <div>
        <dt>Settled up to</dt>
        <dd>{grouped(position)}</dd>
      </div>
    </dl>
  );
}

function Settings({ group }: { readonly group: GroupJson }) {
  const { settings = {}, createdAt, oldestInFlightPosition = "0" } = group;
  const { query, ordering, lease, attemptsMax, retryDelay, inFlightMax } = settings;
  const items = query?.items ?? [];
  return (
    <details class="panel">
      <summary class="panel-head">
        <b>Settings</b>
        <span class="quiet">
          {items.length === 0 ? "every event" : counted(items.length, "query item")}, lease{" "}
          {durationText(secondsOf(lease))}, {counted(attemptsMax, "attempt")}
        </span>
      </summary>
      <dl class="facts wide">
        <dt>Query</dt>
        <dd>
          {items.length === 0 ? (
            "every event"
          ) : (
            <code>
              <Text>{JSON.stringify(items)}</Text>
            </code>
          )}
        </dd>
        <dt>Order</dt>
        <dd>
          {ordering?.tagPrefix === undefined ? (
            `by ${Object.keys(ordering ?? {})[0] ?? "stream"}`
          ) : (
            <>
              by tag <Text>{ordering.tagPrefix}</Text>
            </>
          )}
        </dd>
        <dt>Lease</dt>
        <dd>{durationText(secondsOf(lease))}</dd>
        <dt>Attempts</dt>
        <dd>{grouped(attemptsMax)}</dd>
        <dt>Retry delay</dt>
        <dd>
          {durationText(secondsOf(retryDelay))}, up to{" "}
          {durationText(secondsOf(settings.retryDelayMax))}
        </dd>
        <dt>In flight at most</dt>
        <dd>{grouped(inFlightMax)}</dd>
        <dt>Created</dt>
        <dd>{timeText(createdAt)}</dd>
        {oldestInFlightPosition !== "0" && (
          <>
            <dt>Oldest in flight</dt>
            <dd>
              <a href={eventHash(oldestInFlightPosition)}>{grouped(oldestInFlightPosition)}</a>
            </dd>
          </>
        )}
      </dl>
    </details>
  );
}

function Members({ group: { members = [] } }: { readonly group: GroupJson }) {
  if (members.length === 0) return <p class="remark">No member is connected.</p>;
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Member</th>
          <th scope="col" class="number">
            In flight
          </th>
          <th scope="col" class="number">
            Permits
          </th>
          <th scope="col" class="number">
            Joined
          </th>
        </tr>
      </thead>
      <tbody>
        {members.map(({ name = "", inFlightCount, permits, joinedAt }, index) => (
          <tr key={`${name} ${joinedAt} ${index}`}>
            <td class="name">
              {name === "" ? <span class="quiet">without a name</span> : <Text>{name}</Text>}
            </td>
            <td class="number">{grouped(inFlightCount)}</td>
            <td class="number">{grouped(permits)}</td>
            <td class="number">{agoText(joinedAt)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface ParkedProps {
  readonly name: string;
  readonly parkedCount: string;
  readonly changed: () => void;
}

type Change = "replay" | "discard";

function Parked({ name, parkedCount, changed }: ParkedProps) {
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const [asks, setAsks] = useState<Change>();
  const [epoch, setEpoch] = useState("");
  const pages = usePages(
    async (pageToken, signal) => {
      const answer = await api.parked({ group: name, pageToken }, signal);
      setEpoch(answer.epoch ?? "");
      return { items: answer.parked ?? [], next: answer.nextPageToken ?? "" };
    },
    [name, parkedCount],
  );
  const toggle = (position: string): void => {
    const next = new Set(chosen);
    if (!next.delete(position)) next.add(position);
    choose(next);
  };
  const change = async (): Promise<void> => {
    // All: those that the page has not shown, too.
    const positions = [...chosen];
    await (asks === "replay" ? api.replayParked : api.discardParked)(name, positions, epoch);
    choose(new Set());
    setAsks(undefined);
    changed();
    pages.reload();
  };
  const which = chosen.size === 0 ? `all ${grouped(parkedCount)}` : `${chosen.size}`;
  return (
    <section aria-labelledby="parked">
      <div class="section-head">
        <h2 id="parked">Parked events</h2>
        <div class="spacer" />
        {pages.items.length > 0 && (
          <>
            <button type="button" class="button" onClick={() => setAsks("replay")}>
              Replay {which}
            </button>
            <button type="button" class="button danger" onClick={() => setAsks("discard")}>
              Discard {which}
            </button>
          </>
        )}
      </div>
      <PageList pages={pages} empty={<Empty title="Nothing is parked" icon="check" />}>
        <ul class="events" aria-label="Parked events">
          {pages.items.map((parked) => (
            <ParkedRow
              key={parked.position}
              parked={parked}
              epoch={epoch}
              isChosen={chosen.has(parked.position ?? "")}
              toggle={toggle}
            />
          ))}
        </ul>
      </PageList>
      {asks !== undefined && (
        <Confirm
          title={asks === "replay" ? `Replay ${which} parked?` : `Discard ${which} parked?`}
          action={asks === "replay" ? "Replay" : "Discard"}
          isDangerous={asks === "discard"}
          confirm={change}
          close={() => setAsks(undefined)}
        >
          {asks === "replay"
            ? "They are delivered again, with attempts counted from 1."
            : "The group forgets them for good. The events themselves stay in the log."}
        </Confirm>
      )}
    </section>
  );
}

interface ParkedRowProps {
  readonly parked: ParkedEventJson;
  readonly epoch: string;
  readonly isChosen: boolean;
  readonly toggle: (position: string) => void;
}

function ParkedRow({ parked, epoch, isChosen, toggle }: ParkedRowProps) {
  const { position = "0", attempts, reason = "", parkedAt, event } = parked;
  const [isOpen, setOpen] = useState(false);
  const shown = event === undefined ? undefined : shownEvent(event);
  return (
    <li class={isOpen ? "event open" : "event"}>
      <div class="parked-row">
        <input
          type="checkbox"
          aria-label={`Choose the event at position ${position}`}
          checked={isChosen}
          onChange={() => toggle(position)}
        />
        <button
          type="button"
          class="event-head"
          aria-expanded={isOpen}
          onClick={() => setOpen(!isOpen)}
        >
          <span class="event-number">{grouped(position)}</span>
          <span class="event-main">
            <span class="event-title">
              <b>{shown === undefined ? "removed since" : <Text>{shown.type}</Text>}</b>
              {shown !== undefined && <Text>{shown.stream}</Text>}
              <span class="quiet">after {counted(attempts, "attempt")}</span>
            </span>
            <span class="event-preview">
              {reason === "" ? "no reason was given" : <Text>{reason}</Text>}
            </span>
          </span>
          <time class="event-time" dateTime={parkedAt} title={timeText(parkedAt)}>
            {agoText(parkedAt)}
          </time>
        </button>
      </div>
      {isOpen && shown !== undefined && (
        <div class="event-body">
          <EventDetail event={shown} epoch={epoch} />
        </div>
      )}
    </li>
  );
}
