// One stream: what it is, and its events, state, snapshots and policy.

import { durationText, grouped, secondsOf, timeText } from "../data/format.ts";
import { streamHash, type Place } from "../data/router.ts";
import { streamSnippets } from "../data/snippets.ts";
import type { StreamInfoJson } from "../../../src/gen/annals/v1/info_pb.js";
import { CopyButton, Snippets } from "../parts/copy.tsx";
import { useAsk } from "../parts/hooks.ts";
import { Empty, Failure, Loading } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { api } from "../wire/api.ts";
import { SnapshotsTab } from "./snapshots-tab.tsx";
import { StateTab } from "./state-tab.tsx";
import { StreamBadges } from "./streams-page.tsx";
import { StreamEvents } from "./stream-events.tsx";

const tabs = [
  { path: "", label: "Events" },
  { path: "state", label: "State" },
  { path: "snapshots", label: "Snapshots" },
  { path: "policy", label: "Policy" },
] as const;

export function StreamPage({ place }: { readonly place: Place }) {
  const [, name = "", tab = ""] = place.path;
  const asked = useAsk((signal) => api.stream(name, signal), [name], 3_000);
  const stream = asked.value?.stream;
  return (
    <>
      <header class="page-head">
        <h1 class="break">
          <Text>{name}</Text>
        </h1>
        <CopyButton label="the stream's name" text={name} />
        {stream !== undefined && <StreamBadges stream={stream} />}
        <div class="spacer" />
        {tab !== "state" && <Snippets snippets={streamSnippets(name)} />}
      </header>
      {stream === undefined ? (
        <NoStream asked={asked} />
      ) : (
        <>
          <StreamFacts stream={stream} />
          <nav class="tabs" aria-label="Parts of the stream">
            {tabs.map(({ path, label }) => (
              <a
                key={path}
                href={streamHash(name, path)}
                aria-current={path === tab ? "page" : undefined}
              >
                {label}
              </a>
            ))}
          </nav>
          {asked.failure !== undefined && <Failure failure={asked.failure} retry={asked.reload} />}
          <Tab tab={tab} stream={stream} parameters={place.parameters} />
        </>
      )}
    </>
  );
}

function NoStream({ asked }: { readonly asked: ReturnType<typeof useAsk> }) {
  if (asked.failure === undefined) return <Loading />;
  if (asked.failure.reason !== "STREAM_NOT_FOUND") {
    return <Failure failure={asked.failure} retry={asked.reload} />;
  }
  return (
    <Empty title="There is no such stream" icon="streams">
      <p>It never had an event. It will be shown here when it gets its first one.</p>
    </Empty>
  );
}

interface TabProps {
  readonly tab: string;
  readonly stream: StreamInfoJson;
  readonly parameters: URLSearchParams;
}

function Tab({ tab, stream, parameters }: TabProps) {
  const { stream: name = "", version = "0" } = stream;
  switch (tab) {
    case "state":
      return <StateTab stream={name} version={version} parameters={parameters} />;
    case "snapshots":
      return <SnapshotsTab stream={name} />;
    case "policy":
      return <PolicyTab stream={stream} />;
    default: {
      const at = parameters.get("at") ?? "";
      return <StreamEvents key={`${name} ${at}`} stream={stream} at={at} />;
    }
  }
}

function StreamFacts({ stream }: { readonly stream: StreamInfoJson }) {
  const { eventCount, version, firstRecordedAt, lastRecordedAt, subscriberCount } = stream;
  return (
    <dl class="tiles">
      <div>
        <dt>Events</dt>
        <dd>{grouped(eventCount)}</dd>
      </div>
      <div>
        <dt>Version</dt>
        <dd>{grouped(version)}</dd>
      </div>
      <div>
        <dt>First event</dt>
        <dd class="small">{timeText(firstRecordedAt)}</dd>
      </div>
      <div>
        <dt>Last event</dt>
        <dd class="small">{timeText(lastRecordedAt)}</dd>
      </div>
      <div>
        <dt>Subscribers</dt>
        <dd>{grouped(subscriberCount)}</dd>
      </div>
    </dl>
  );
}

function PolicyTab({ stream }: { readonly stream: StreamInfoJson }) {
  const { stream: name = "", policy, deletedThrough = "0", firstVersion = "0" } = stream;
  const { maxAge, maxCount = "0", truncateBefore = "0", labels = {} } = policy ?? {};
  const removed = BigInt(stream.version ?? "0") - BigInt(stream.eventCount ?? "0");
  return (
    <section class="panel">
      <dl class="facts wide">
        <dt>Keeps events of</dt>
        <dd>{maxAge === undefined ? "any age" : `the last ${durationText(secondsOf(maxAge))}`}</dd>
        <dt>Keeps</dt>
        <dd>{maxCount === "0" ? "any number" : `the newest ${grouped(maxCount)}`}</dd>
        <dt>Begins at version</dt>
        <dd>{truncateBefore === "0" ? "any" : grouped(truncateBefore)}</dd>
        <dt>Removed so far</dt>
        <dd>
          {grouped(removed)}
          {removed > 0n &&
            firstVersion !== "0" &&
            `; the first left is version ${grouped(firstVersion)}`}
          {deletedThrough !== "0" && `; deleted through version ${grouped(deletedThrough)}`}
        </dd>
        {Object.entries(labels).map(([key, value]) => (
          <>
            <dt>
              <Text>{key}</Text>
            </dt>
            <dd>
              <Text hasLines>{value}</Text>
            </dd>
          </>
        ))}
      </dl>
      <p>
        <a href={streamHash(`$lifecycle-${name}`)}>Every change of this policy, by whom and why</a>
      </p>
    </section>
  );
}
