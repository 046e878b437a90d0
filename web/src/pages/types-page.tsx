// The types of events, with how many there ever were, and the tags of the newest events.

import { useState } from "preact/hooks";
import type { EventTypeInfoJson } from "../../../src/gen/annals/v1/info_pb.js";
import { readPage } from "../data/events.ts";
import { counted, grouped, hueOf } from "../data/format.ts";
import { eventHash, go, hashOf } from "../data/router.ts";
import { useAsk } from "../parts/hooks.ts";
import { PageList, SortColumn } from "../parts/page-list.tsx";
import { Answer, Empty } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { usePages } from "../parts/use-pages.ts";
import { api } from "../wire/api.ts";

type Key = "name" | "count" | "last";

const order: Readonly<Record<Key, (one: EventTypeInfoJson, other: EventTypeInfoJson) => number>> = {
  name: () => 0,
  count: (one, other) => Number(one.recordedCount ?? 0) - Number(other.recordedCount ?? 0),
  last: (one, other) => Number(one.lastPosition ?? 0) - Number(other.lastPosition ?? 0),
};

export function TypesPage() {
  const [sort, setSort] = useState<{ by: Key; isDown: boolean }>({ by: "count", isDown: true });
  const pages = usePages(async (pageToken, signal) => {
    const answer = await api.types({ pageToken, pageSize: 1_000 }, signal);
    return { items: answer.eventTypes ?? [], next: answer.nextPageToken ?? "" };
  }, []);
  const up = sort.by === "name" ? [...pages.items] : pages.items.toSorted(order[sort.by]);
  const rows = sort.isDown ? up.toReversed() : up;
  const most = Math.max(1, ...rows.map(({ recordedCount = "0" }) => Number(recordedCount)));
  return (
    <>
      <header class="page-head">
        <h1>Types and tags</h1>
        {rows.length > 0 && <span class="quiet">{counted(rows.length, "type")}</span>}
      </header>
      <PageList pages={pages} empty={<Empty title="No types yet" icon="types" />} more="More types">
        <table>
          <thead>
            <tr>
              <SortColumn label="Type" by="name" sort={sort} change={setSort} />
              <th scope="col" class="minor">
                <span class="for-readers">Share</span>
              </th>
              <SortColumn label="Recorded" by="count" sort={sort} change={setSort} isNumber />
              <SortColumn label="Last at" by="last" sort={sort} change={setSort} isNumber />
            </tr>
          </thead>
          <tbody>
            {rows.map(({ type = "", recordedCount, lastPosition = "0" }) => (
              <tr key={type}>
                <td class="name">
                  <a class={`type ${hueOf(type)}`} href={hashOf(["events"], [["type", type]])}>
                    <Text>{type}</Text>
                  </a>
                </td>
                <td class="minor share">
                  <meter
                    min={0}
                    max={most}
                    value={Number(recordedCount)}
                    aria-label={`Share of the most frequent type`}
                  />
                </td>
                <td class="number">{grouped(recordedCount)}</td>
                <td class="number">
                  <a href={eventHash(lastPosition)}>{grouped(lastPosition)}</a>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </PageList>
      <Tags />
    </>
  );
}

const newestEvents = 1_000;

/** The server keeps no list of tags: these are those of the newest events. */
function Tags() {
  const asked = useAsk(async (signal) => {
    const request = {
      direction: "DIRECTION_BACKWARDS" as const,
      limit: `${newestEvents}`,
      view: "VIEW_HEADERS" as const,
    };
    const { events } = await readPage(request, signal);
    const counts = new Map<string, number>();
    for (const tag of events.flatMap(({ tags }) => tags))
      counts.set(tag, (counts.get(tag) ?? 0) + 1);
    return [...counts].toSorted(([, one], [, other]) => other - one);
  }, []);
  const [text, setText] = useState("");
  const search = (event: Event): void => {
    event.preventDefault();
    if (text !== "") go(hashOf(["events"], [["tag", text]]));
  };
  return (
    <section aria-labelledby="tags">
      <div class="section-head">
        <h2 id="tags">Tags</h2>
        <span class="quiet">of the newest {grouped(newestEvents)} events</span>
        <div class="spacer" />
        <form class="row" onSubmit={search}>
          <input
            aria-label="Events with the tag"
            placeholder="Events with the tag…"
            spellcheck={false}
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
        </form>
      </div>
      <Answer asked={asked} rows={2}>
        {(tags) =>
          tags.length === 0 ? (
            <p class="quiet">None of them has a tag.</p>
          ) : (
            <div class="row wrap">
              {tags.slice(0, 200).map(([tag, count]) => (
                <a key={tag} class="tag" href={hashOf(["events"], [["tag", tag]])}>
                  <Text>{tag}</Text> <b>{grouped(count)}</b>
                </a>
              ))}
            </div>
          )
        }
      </Answer>
    </section>
  );
}
