// Consumer groups: how far behind they are, what is in flight and what was parked.

import type { GroupJson } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { durationText, grouped, secondsOf } from "../data/format.ts";
import { hashOf } from "../data/router.ts";
import { useAsk } from "../parts/hooks.ts";
import { Answer, Empty } from "../parts/states.tsx";
import { Text } from "../parts/text.tsx";
import { api } from "../wire/api.ts";

/** The server stops counting there. */
const lagCountedMax = 10_000;

export function GroupsPage() {
  const asked = useAsk((signal) => api.groups({ pageSize: 100 }, signal), [], 3_000);
  return (
    <>
      <header class="page-head">
        <h1>Consumer groups</h1>
      </header>
      <Answer asked={asked}>
        {({ groups = [], nextPageToken = "" }) =>
          groups.length === 0 ? (
            <Empty title="No consumer groups" icon="groups">
              <p>
                A group shares events among several workers. Create one with{" "}
                <code>annals groups create</code>.
              </p>
            </Empty>
          ) : (
            <>
              <GroupTable groups={groups} />
              {nextPageToken !== "" && (
                <p class="quiet">These are the first hundred groups by name.</p>
              )}
            </>
          )
        }
      </Answer>
    </>
  );
}

export function GroupTable({ groups }: { readonly groups: readonly GroupJson[] }) {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Group</th>
          <th scope="col" class="number">
            Lag
          </th>
          <th scope="col" class="number minor">
            Oldest
          </th>
          <th scope="col" class="number minor">
            In flight
          </th>
          <th scope="col" class="number minor">
            Members
          </th>
          <th scope="col" class="number">
            Parked
          </th>
        </tr>
      </thead>
      <tbody>
        {groups.map((group) => (
          <GroupRow key={group.name} group={group} />
        ))}
      </tbody>
    </table>
  );
}

function GroupRow({ group }: { readonly group: GroupJson }) {
  const { name = "", memberCount = 0, parkedCount = "0", inFlightCount, lag } = group;
  const isAbandoned = memberCount === 0 && group.lagEvents !== undefined;
  return (
    <tr>
      <td class="name">
        <a href={hashOf(["groups", name])}>
          <Text>{name}</Text>
        </a>
        {isAbandoned && <span class="badge warn">nobody consumes it</span>}
      </td>
      <td class="number">{lagText(group)}</td>
      <td class="number minor">{lag === undefined ? "–" : durationText(secondsOf(lag))}</td>
      <td class="number minor">{grouped(inFlightCount)}</td>
      <td class="number minor">{grouped(memberCount)}</td>
      <td class="number">
        {parkedCount === "0" ? "0" : <span class="badge bad">{grouped(parkedCount)}</span>}
      </td>
    </tr>
  );
}

function lagText({ lagEvents = "0" }: GroupJson): string {
  return `${grouped(lagEvents)}${Number(lagEvents) >= lagCountedMax ? "+" : ""}`;
}
