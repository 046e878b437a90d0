// Events below one another, each to be opened. j and k, or the arrow keys, go from one to the next.

import { memo } from "./memo.ts";
import { useRef, useState } from "preact/hooks";
import type { ShownEvent } from "../data/events.ts";
import { agoText, bytesText, grouped, hueOf, timeText } from "../data/format.ts";
import { lifecycleSentence } from "../data/lifecycle-sentence.ts";
import { previewOf } from "../data/payload.ts";
import { EventDetail } from "./event-detail.tsx";
import { useKeys } from "./hooks.ts";
import { shown } from "./text.tsx";

interface ListProps {
  readonly events: readonly ShownEvent[];
  readonly epoch: string;
  readonly now: number;
  /** All of one stream, so that rows need not name it. */
  readonly isOneStream?: boolean;
  /** The position of the event to be open at first. */
  readonly opened?: string;
  readonly label: string;
}

export function EventList({ events, epoch, now, isOneStream = false, opened, label }: ListProps) {
  const [open, setOpen] = useState<ReadonlySet<string>>(
    new Set(opened === undefined ? [] : [opened]),
  );
  const list = useRef<HTMLUListElement>(null);
  const step = (by: number) => (): void => {
    const heads = [...(list.current?.querySelectorAll<HTMLElement>(".event-head") ?? [])];
    const at = heads.indexOf(document.activeElement as HTMLElement);
    const next = heads[at < 0 ? 0 : Math.max(0, Math.min(heads.length - 1, at + by))];
    next?.focus();
  };
  useKeys({ j: step(1), k: step(-1), ArrowDown: step(1), ArrowUp: step(-1) });
  const toggle = (position: string): void => {
    const next = new Set(open);
    if (!next.delete(position)) next.add(position);
    setOpen(next);
  };
  return (
    <ul class="events" aria-label={label} ref={list}>
      {events.map((event) => (
        <Row
          key={event.position}
          event={event}
          epoch={epoch}
          ago={agoText(event.recordedAt, now)}
          isOneStream={isOneStream}
          isOpen={open.has(event.position)}
          toggle={toggle}
        />
      ))}
    </ul>
  );
}

interface RowProps {
  readonly event: ShownEvent;
  readonly epoch: string;
  readonly ago: string;
  readonly isOneStream: boolean;
  readonly isOpen: boolean;
  readonly toggle: (position: string) => void;
}

/** A row is drawn again only where it changes: a live list gets hundreds of rows a second. */
const Row = memo(EventRow, (one, other) => {
  return (
    one.event === other.event &&
    one.epoch === other.epoch &&
    one.ago === other.ago &&
    one.isOpen === other.isOpen
  );
});

function EventRow({ event, epoch, ago, isOneStream, isOpen, toggle }: RowProps) {
  const { stream, type, version, position, tags, recordedAt, removed } = event;
  return (
    <li class={isOpen ? "event open" : "event"}>
      <button
        type="button"
        class="event-head"
        aria-expanded={isOpen}
        onClick={() => toggle(position)}
      >
        <span class="event-number">{grouped(isOneStream ? version : position)}</span>
        <span class="event-main">
          <span class="event-title">
            <bdi class={`type ${hueOf(type)}`}>{shown(type)}</bdi>
            {!isOneStream && stream !== "" && (
              <span class="event-stream">
                <bdi>{shown(stream)}</bdi>
                <span class="quiet">{`\u00a0@${grouped(version)}`}</span>
              </span>
            )}
            {tags.map((tag) => (
              <bdi key={tag} class="tag">
                {shown(tag)}
              </bdi>
            ))}
            {removed !== undefined && (
              <span class="badge warn">{removed.lost === true ? "lost" : "removed"}</span>
            )}
          </span>
          {preview(event)}
        </span>
        <time class="event-time" dateTime={recordedAt} onMouseEnter={sayTime}>
          {ago}
        </time>
      </button>
      {isOpen && (
        <div class="event-body">
          <EventDetail event={event} epoch={epoch} />
        </div>
      )}
    </li>
  );
}

/** In full, once somebody points at it: a hundred times take their while to be written. */
function sayTime({ currentTarget: time }: { readonly currentTarget: HTMLTimeElement }): void {
  time.title = `${time.dateTime}, ${timeText(time.dateTime)}`;
}

function preview({ type, data, contentType, size, isWhole, removed }: ShownEvent) {
  if (removed !== undefined) return null;
  if (size === undefined) return <i class="event-preview">payload not loaded</i>;
  if (size === 0) return <i class="event-preview">no payload</i>;
  const sentence = isWhole ? lifecycleSentence(type, data) : undefined;
  return (
    <bdi class="event-preview">
      {!isWhole && <span class="badge">{bytesText(size)}</span>}
      {shown(sentence ?? previewOf(data, contentType))}
    </bdi>
  );
}
