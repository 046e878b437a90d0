// The checkpoints of named consumers, and how far each is behind the head.

import { useState } from "preact/hooks";
import type { ConsumerCheckpointJson } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { agoText, grouped, timeText } from "../data/format.ts";
import { eventHash } from "../data/router.ts";
import { useNow, useSettled } from "../parts/hooks.ts";
import { PageList } from "../parts/page-list.tsx";
import { Empty } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { usePages } from "../parts/use-pages.ts";
import { api } from "../wire/api.ts";

export function CheckpointsPage({ head }: { readonly head: string }) {
  const [prefix, setPrefix] = useState("");
  const settled = useSettled(prefix, 200);
  const now = useNow(5_000);
  const pages = usePages(
    async (pageToken, signal) => {
      const answer = await api.checkpoints({ prefix: settled, pageToken, pageSize: 200 }, signal);
      return { items: answer.checkpoints ?? [], next: answer.nextPageToken ?? "" };
    },
    [settled],
    3_000,
  );
  return (
    <>
      <header class="page-head">
        <h1>Checkpoints</h1>
      </header>
      <div class="toolbar">
        <input
          type="search"
          class="wide"
          aria-label="Only consumers whose name begins with"
          placeholder="Consumer begins with…"
          spellcheck={false}
          value={prefix}
          onInput={({ currentTarget }) => setPrefix(currentTarget.value)}
        />
      </div>
      <PageList
        pages={pages}
        empty={
          <Empty title="No checkpoints" icon="checkpoints">
            <p>A consumer saves the position up to which it has dealt with every event.</p>
          </Empty>
        }
      >
        <table>
          <thead>
            <tr>
              <th scope="col">Consumer</th>
              <th scope="col" class="number">
                Position
              </th>
              <th scope="col" class="number">
                Behind the head
              </th>
              <th scope="col" class="number minor">
                Saved
              </th>
            </tr>
          </thead>
          <tbody>
            {pages.items.map((checkpoint) => (
              <Row key={checkpoint.consumer} checkpoint={checkpoint} head={head} now={now} />
            ))}
          </tbody>
        </table>
      </PageList>
    </>
  );
}

interface RowProps {
  readonly checkpoint: ConsumerCheckpointJson;
  readonly head: string;
  readonly now: number;
}

function Row({ checkpoint, head, now }: RowProps) {
  const { consumer = "", position = "0", savedAt, metadata = {}, source = "" } = checkpoint;
  const behind = BigInt(head) - BigInt(position);
  return (
    <tr>
      <td class="name">
        <Text>{consumer}</Text>
        {Object.entries(metadata).map(([key, value]) => (
          <span key={key} class="tag">
            <Text>{`${key}=${value}`}</Text>
          </span>
        ))}
      </td>
      <td class="number">
        {source === "" && position !== "0" ? (
          <a href={eventHash(position, checkpoint.epoch)}>{grouped(position)}</a>
        ) : (
          grouped(position)
        )}
      </td>
      <td class="number">
        {source !== "" ? (
          <span class="quiet">
            of <Text>{source}</Text>
          </span>
        ) : (
          grouped(behind < 0n ? 0n : behind)
        )}
      </td>
      <td class="number minor">
        <time dateTime={savedAt} title={timeText(savedAt)}>
          {agoText(savedAt, now)}
        </time>
      </td>
    </tr>
  );
}
