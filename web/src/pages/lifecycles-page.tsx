// Which streams were limited or deleted, by whom and why, and what was removed and reclaimed.

import { useState } from "preact/hooks";
import type { GetInfoResponseJson } from "../../../src/gen/annals/v1/info_pb.js";
import { readPage, type ShownEvent } from "../data/events.ts";
import { bytesText, grouped, timeText, wordOf } from "../data/format.ts";
import { EventList } from "../parts/event-list.tsx";
import { useAsk, useNow } from "../parts/hooks.ts";
import { Answer, Empty } from "../parts/states.tsx";

const kinds = [
  { name: "Changes", types: ["$StreamUpdated", "$StreamDeleted", "$StreamTombstoned"] },
  { name: "Reclaimed space", types: ["$EventsRemoved"] },
] as const;

const pageEvents = 100;

export function LifecyclesPage({ info }: { readonly info: GetInfoResponseJson | undefined }) {
  const [kind, choose] = useState<(typeof kinds)[number]>(kinds[0]);
  const asked = useAsk(
    (signal) => {
      const request = {
        query: { items: [{ types: [...kind.types] }] },
        direction: "DIRECTION_BACKWARDS" as const,
        limit: `${pageEvents}`,
      };
      return readPage(request, signal);
    },
    [kind.name],
  );
  return (
    <>
      <header class="page-head">
        <h1>Lifecycles</h1>
      </header>
      <Reclaiming info={info} />
      <div class="toolbar">
        <div class="tabs small" role="group" aria-label="What to show">
          {kinds.map((each) => (
            <button
              key={each.name}
              type="button"
              aria-pressed={each === kind}
              onClick={() => choose(each)}
            >
              {each.name}
            </button>
          ))}
        </div>
        <span class="quiet">the newest {pageEvents}</span>
      </div>
      <Answer asked={asked}>
        {({ events, epoch }) => <Changes events={events} epoch={epoch} />}
      </Answer>
    </>
  );
}

function Changes({ events, epoch }: { events: readonly ShownEvent[]; epoch: string }) {
  const now = useNow();
  if (events.length === 0) {
    return (
      <Empty title="Nothing of that kind" icon="lifecycles">
        <p>
          Policies limit what a stream keeps, and streams can be deleted. Every such change is
          recorded and shown here, with who asked for it and why.
        </p>
      </Empty>
    );
  }
  return <EventList events={events} epoch={epoch} now={now} label="Changes, the newest first" />;
}

function Reclaiming({ info }: { readonly info: GetInfoResponseJson | undefined }) {
  const reclaiming = info?.reclaiming;
  if (reclaiming === undefined) return null;
  const { phase, events, bytesFreed, lastFinishedAt, rounds } = reclaiming;
  return (
    <dl class="tiles">
      <div>
        <dt>Reclaimer</dt>
        <dd class="small">{wordOf(phase, "RECLAIM_PHASE_")}</dd>
      </div>
      <div>
        <dt>Events reclaimed</dt>
        <dd>{grouped(events)}</dd>
      </div>
      <div>
        <dt>Space freed</dt>
        <dd>{bytesText(Number(bytesFreed ?? 0))}</dd>
      </div>
      <div>
        <dt>Last round</dt>
        <dd class="small">
          {timeText(lastFinishedAt)} ({grouped(rounds)})
        </dd>
      </div>
    </dl>
  );
}
