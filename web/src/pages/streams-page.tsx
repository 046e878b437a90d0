// All streams, by name, or those whose name begins with what is entered.

import { useEffect, useState } from "preact/hooks";
import type { StreamInfoJson } from "../../../src/gen/annals/v1/info_pb.js";
import { agoText, counted, grouped, timeText } from "../data/format.ts";
import { hashOf, replaceHash, streamHash, type Place } from "../data/router.ts";
import { useNow, useSettled } from "../parts/hooks.ts";
import { PageList, SortColumn } from "../parts/page-list.tsx";
import { Empty } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { usePages } from "../parts/use-pages.ts";
import { api } from "../wire/api.ts";

type Key = "name" | "events" | "last";

const order: Readonly<Record<Key, (one: StreamInfoJson, other: StreamInfoJson) => number>> = {
  name: () => 0,
  events: (one, other) => Number(one.eventCount ?? 0) - Number(other.eventCount ?? 0),
  last: (one, other) => Number(one.lastPosition ?? 0) - Number(other.lastPosition ?? 0),
};

export function StreamsPage({ place: { parameters } }: { readonly place: Place }) {
  const given = parameters.get("prefix") ?? "";
  const [prefix, setPrefix] = useState(given);
  // Another address of this page, by the search or the side bar.
  useEffect(() => setPrefix(given), [given]);
  const [sort, setSort] = useState<{ by: Key; isDown: boolean }>({ by: "name", isDown: false });
  const settled = useSettled(prefix, 200);
  const now = useNow(5_000);
  const pages = usePages(
    async (pageToken, signal) => {
      const page = { prefix: settled, pageToken, pageSize: 200 };
      const { streams = [], nextPageToken = "" } = await api.streams(page, signal);
      return { items: streams, next: nextPageToken };
    },
    [settled],
  );
  const enter = (value: string): void => {
    setPrefix(value);
    replaceHash(hashOf(["streams"], [["prefix", value]]));
  };
  const rows = sorted(pages.items, sort);
  return (
    <>
      <header class="page-head">
        <h1>Streams</h1>
        {rows.length > 0 && (
          <span class="quiet" role="status">
            {counted(rows.length, "stream")}
            {pages.hasMore && " so far"}
          </span>
        )}
      </header>
      <div class="toolbar">
        <input
          type="search"
          class="wide"
          aria-label="Only streams whose name begins with"
          placeholder="Name begins with…"
          spellcheck={false}
          value={prefix}
          onInput={({ currentTarget }) => enter(currentTarget.value)}
        />
      </div>
      <PageList pages={pages} empty={<NoStreams prefix={settled} />} more="More streams">
        <table>
          <thead>
            <tr>
              <SortColumn label="Stream" by="name" sort={sort} change={setSort} />
              <SortColumn label="Events" by="events" sort={sort} change={setSort} isNumber />
              <th scope="col" class="number minor">
                Version
              </th>
              <SortColumn label="Last event" by="last" sort={sort} change={setSort} isNumber />
            </tr>
          </thead>
          <tbody>
            {rows.map((stream) => (
              <StreamRow key={stream.stream} stream={stream} now={now} />
            ))}
          </tbody>
        </table>
        {pages.hasMore && sort.by !== "name" && (
          <p class="quiet">Sorted are the streams that have been read so far.</p>
        )}
      </PageList>
    </>
  );
}

function sorted(streams: readonly StreamInfoJson[], { by, isDown }: { by: Key; isDown: boolean }) {
  const up = by === "name" ? [...streams] : streams.toSorted(order[by]);
  return isDown ? up.toReversed() : up;
}

function StreamRow({ stream, now }: { readonly stream: StreamInfoJson; readonly now: number }) {
  const { stream: name = "", eventCount, version, lastRecordedAt } = stream;
  return (
    <tr>
      <td class="name">
        <a href={streamHash(name)}>
          <Text>{name}</Text>
        </a>
        <StreamBadges stream={stream} />
      </td>
      <td class="number">{grouped(eventCount)}</td>
      <td class="number minor">{grouped(version)}</td>
      <td class="number">
        <time dateTime={lastRecordedAt} title={timeText(lastRecordedAt)}>
          {agoText(lastRecordedAt, now)}
        </time>
      </td>
    </tr>
  );
}

/** What is special about a stream. */
export function StreamBadges({
  stream: { lifecycle, policy },
}: {
  readonly stream: StreamInfoJson;
}) {
  const { maxAge, maxCount = "0", truncateBefore = "0" } = policy ?? {};
  return (
    <>
      {lifecycle === "STREAM_LIFECYCLE_DELETED" && <span class="badge warn">deleted</span>}
      {lifecycle === "STREAM_LIFECYCLE_TOMBSTONED" && (
        <span class="badge bad">deleted for good</span>
      )}
      {maxAge !== undefined && <span class="badge">limited age</span>}
      {maxCount !== "0" && <span class="badge">newest {grouped(maxCount)}</span>}
      {truncateBefore !== "0" && <span class="badge">from version {grouped(truncateBefore)}</span>}
    </>
  );
}

function NoStreams({ prefix }: { readonly prefix: string }) {
  if (prefix === "") {
    return (
      <Empty title="No streams yet" icon="streams">
        <p>
          A stream exists from its first event on. Append one, for example with{" "}
          <code>annals append user-1 UserRegistered '{`{"name":"Ann"}`}'</code>.
        </p>
      </Empty>
    );
  }
  return (
    <Empty title="No stream of that name" icon="streams">
      <p>
        No stream's name begins with <Text>{prefix}</Text>.
      </p>
    </Empty>
  );
}
