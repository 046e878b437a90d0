// All of one event: its payload, metadata, tags, who appended it and when, and ways to go on.

import { Fragment } from "preact";
import { readEvent, type ShownEvent } from "../data/events.ts";
import { agoText, grouped, timeText } from "../data/format.ts";
import { eventHash, hashOf, streamHash } from "../data/router.ts";
import { eventSnippets } from "../data/snippets.ts";
import { CopyButton, Snippets } from "./copy.tsx";
import { useAsk } from "./hooks.ts";
import { PayloadView } from "./payload-view.tsx";
import { Answer } from "./states.tsx";
import { Text } from "./text.tsx";

interface DetailProps {
  readonly event: ShownEvent;
  readonly epoch: string;
}

export function EventDetail({ event, epoch }: DetailProps) {
  const { position, removed } = event;
  return (
    <div class="detail">
      <div class="detail-payload">
        {removed !== undefined ? <Removed event={event} /> : <WholePayload {...{ event, epoch }} />}
      </div>
      <div class="detail-facts">
        <Facts event={event} epoch={epoch} />
        <Metadata event={event} />
        <div class="row wrap">
          <CopyButton
            label="a link to this event"
            icon="link"
            text={() => `${location.origin}/${eventHash(position, epoch)}`}
          >
            Copy link
          </CopyButton>
          <Snippets snippets={eventSnippets(event)} />
        </div>
      </div>
    </div>
  );
}

/** What a list has not kept of a payload is read here. */
function WholePayload({ event, epoch }: DetailProps) {
  const { data, contentType, isWhole, position, size } = event;
  if (isWhole) return <PayloadView data={data} contentType={contentType} />;
  return <LoadedPayload position={position} epoch={epoch} size={size ?? 0} />;
}

function LoadedPayload({
  position,
  epoch,
  size,
}: {
  position: string;
  epoch: string;
  size: number;
}) {
  const asked = useAsk((signal) => readEvent(position, epoch, signal), [position, epoch]);
  return (
    <Answer asked={asked} rows={size > 1_000_000 ? 4 : 2}>
      {({ event }) =>
        event === undefined ? (
          <p class="quiet">The event was removed meanwhile.</p>
        ) : (
          <PayloadView data={event.data} contentType={event.contentType} />
        )
      }
    </Answer>
  );
}

function Removed({ event: { removed } }: { readonly event: ShownEvent }) {
  if (removed?.lost === true) {
    return <p>Damage of the disk has lost this event, and the store was salvaged without it.</p>;
  }
  const { policyPosition, contentSha256 } = removed ?? {};
  return (
    <>
      <p>
        This event was removed.{" "}
        {policyPosition !== undefined && (
          <a href={eventHash(policyPosition)}>What removed it, and why</a>
        )}
      </p>
      <p class="quiet">
        {contentSha256 === undefined
          ? "Its space is reclaimed in some minutes."
          : "Its payload and metadata are gone from the disk."}
      </p>
    </>
  );
}

function Facts({ event, epoch }: DetailProps) {
  const { stream, type, version, position, tags, recordedAt, id, principal, traceParent } = event;
  return (
    <dl class="facts">
      <dt>Type</dt>
      <dd>
        <a href={hashOf(["events"], [["type", type]])}>
          <Text>{type}</Text>
        </a>
      </dd>
      <dt>Stream</dt>
      <dd>
        {stream === "" ? (
          <span class="quiet">none</span>
        ) : (
          <>
            <a href={streamHash(stream)}>
              <Text>{stream}</Text>
            </a>{" "}
            <span class="quiet">version</span>{" "}
            <a href={streamHash(stream, "", [["at", version]])}>{grouped(version)}</a>
          </>
        )}
      </dd>
      {tags.length > 0 && (
        <>
          <dt>Tags</dt>
          <dd class="row wrap">
            {tags.map((tag) => (
              <a key={tag} class="tag" href={hashOf(["events"], [["tag", tag]])}>
                <Text>{tag}</Text>
              </a>
            ))}
          </dd>
        </>
      )}
      <dt>Position</dt>
      <dd>
        <a href={eventHash(position, epoch)}>{grouped(position)}</a>
      </dd>
      <dt>Recorded</dt>
      <dd>
        <time dateTime={recordedAt} title={recordedAt}>
          {timeText(recordedAt)}
        </time>{" "}
        <span class="quiet">{agoText(recordedAt)}</span>
      </dd>
      <dt>By</dt>
      <dd>{principal === "" ? <span class="quiet">not asked</span> : <Text>{principal}</Text>}</dd>
      <dt>Id</dt>
      <dd class="row">
        <code class="break">{id}</code>
        <CopyButton label="the event's id" text={id} />
      </dd>
      {traceParent !== "" && (
        <>
          <dt>Trace</dt>
          <dd class="break">
            <code>
              <Text>{traceParent}</Text>
            </code>
          </dd>
        </>
      )}
    </dl>
  );
}

function Metadata({ event: { metadata } }: { readonly event: ShownEvent }) {
  if (metadata.length === 0) return null;
  return (
    <>
      <h2 class="minor-head">Metadata</h2>
      <dl class="facts">
        {metadata.map(([key, value]) => (
          <Fragment key={key}>
            <dt>
              <Text>{key}</Text>
            </dt>
            <dd class="break">
              <Text hasLines>{value}</Text>
            </dd>
          </Fragment>
        ))}
      </dl>
    </>
  );
}
