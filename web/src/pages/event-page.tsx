// One event, by its position: the page that links to events lead to.

import { readEvent } from "../data/events.ts";
import { grouped, hueOf } from "../data/format.ts";
import { eventHash, streamHash, type Place } from "../data/router.ts";
import { EventDetail } from "../parts/event-detail.tsx";
import { useAsk, useKeys } from "../parts/hooks.ts";
import { Answer, Empty } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";

export function EventPage({ place }: { readonly place: Place }) {
  const [, position = "0"] = place.path;
  const epoch = place.parameters.get("epoch") ?? "";
  const isNumber = /^[1-9]\d{0,15}$/.test(position);
  const asked = useAsk(
    async (signal) => (isNumber ? readEvent(position, epoch, signal) : { event: undefined, epoch }),
    [position, epoch],
  );
  const at = isNumber ? BigInt(position) : 0n;
  const near = (by: bigint) => eventHash(`${at + by < 1n ? 1n : at + by}`);
  useKeys({
    ArrowLeft: () => (location.hash = near(-1n)),
    ArrowRight: () => (location.hash = near(1n)),
  });
  return (
    <>
      <header class="page-head">
        <h1>Event {grouped(position)}</h1>
        <div class="spacer" />
        <nav class="row" aria-label="Near events">
          <a class="button" href={near(-1n)} title="The event before (left arrow)">
            ← Before
          </a>
          <a class="button" href={near(1n)} title="The event behind (right arrow)">
            After →
          </a>
        </nav>
      </header>
      <Answer asked={asked}>
        {({ event, epoch: present }) =>
          event === undefined ? (
            <Empty title={`No event to show at position ${grouped(position)}`}>
              <p>It lies behind the last event, or is the system's and not for you to see.</p>
            </Empty>
          ) : (
            <article class="panel">
              <div class="panel-head">
                <span class={`type ${hueOf(event.type)}`}>
                  <Text>{event.type}</Text>
                </span>
                {event.stream !== "" && (
                  <a href={streamHash(event.stream, "", [["at", event.version]])}>
                    <Text>{event.stream}</Text> @{grouped(event.version)}
                  </a>
                )}
              </div>
              <EventDetail event={event} epoch={present} />
            </article>
          )
        }
      </Answer>
    </>
  );
}
