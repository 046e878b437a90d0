// The snapshots of a stream, each with its state.

import { useState } from "preact/hooks";
import type { SnapshotJson } from "../../../src/gen/annals/v1/snapshot_pb.js";
import { grouped, timeText } from "../data/format.ts";
import { streamHash } from "../data/router.ts";
import { useAsk } from "../parts/hooks.ts";
import { PageList } from "../parts/page-list.tsx";
import { PayloadView } from "../parts/payload-view.tsx";
import { Answer, Empty } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { usePages } from "../parts/use-pages.ts";
import { api } from "../wire/api.ts";

export function SnapshotsTab({ stream }: { readonly stream: string }) {
  const pages = usePages(
    async (token, signal) => {
      const answer = await api.snapshots(stream, token, signal);
      return { items: answer.snapshots ?? [], next: answer.nextPageToken ?? "" };
    },
    [stream],
  );
  const empty = (
    <Empty title="No snapshots">
      <p>A snapshot is a state that a client has computed and saved. This stream has none.</p>
    </Empty>
  );
  return (
    <PageList pages={pages} empty={empty}>
      {pages.items.map((snapshot) => (
        <SnapshotPanel
          key={`${snapshot.kind} ${snapshot.version}`}
          stream={stream}
          snapshot={snapshot}
        />
      ))}
    </PageList>
  );
}

interface PanelProps {
  readonly stream: string;
  readonly snapshot: SnapshotJson;
}

function SnapshotPanel({ stream, snapshot }: PanelProps) {
  const { kind = "", version = "0", savedAt, contentType, metadata = {} } = snapshot;
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="panel" onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary class="panel-head">
        <b>{kind === "" ? "Default kind" : <Text>{kind}</Text>}</b>
        <span>version {grouped(version)}</span>
        <span class="quiet">
          saved {timeText(savedAt)} · {contentType}
        </span>
      </summary>
      {isOpen && <SnapshotState stream={stream} kind={kind} version={version} />}
      {Object.entries(metadata).map(([key, value]) => (
        <p key={key}>
          <span class="quiet">
            <Text>{key}</Text>
          </span>{" "}
          <Text>{value}</Text>
        </p>
      ))}
      <p>
        <a href={streamHash(stream, "state", [["at", version]])}>The state at this version</a>
      </p>
    </details>
  );
}

function SnapshotState(props: { stream: string; kind: string; version: string }) {
  const { stream, kind, version } = props;
  const asked = useAsk(
    (signal) => api.snapshot({ stream, kind, maxVersion: version }, signal),
    [stream, kind, version],
  );
  return (
    <Answer asked={asked} rows={2}>
      {({ snapshot }) => (
        <PayloadView data={snapshot?.data ?? ""} contentType={snapshot?.contentType ?? ""} />
      )}
    </Answer>
  );
}
