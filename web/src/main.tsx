// The console: a page that shows what is in the store, from the same process as the store.

import { render } from "preact";
import type { GetInfoResponseJson } from "../../src/gen/annals/v1/info_pb.js";
import type { Place } from "./data/router.ts";
import { useAsk, usePlace, type Asked } from "./parts/hooks.ts";
import { Shell } from "./parts/shell.tsx";
import { SignIn } from "./parts/sign-in.tsx";
import { CheckpointsPage } from "./pages/checkpoints-page.tsx";
import { EventPage } from "./pages/event-page.tsx";
import { EventsPage } from "./pages/events-page.tsx";
import { GroupPage } from "./pages/group-page.tsx";
import { GroupsPage } from "./pages/groups-page.tsx";
import { LifecyclesPage } from "./pages/lifecycles-page.tsx";
import { OverviewPage } from "./pages/overview-page.tsx";
import { ServerPage } from "./pages/server-page.tsx";
import { StreamPage } from "./pages/stream-page.tsx";
import { StreamsPage } from "./pages/streams-page.tsx";
import { TypesPage } from "./pages/types-page.tsx";
import { api } from "./wire/api.ts";

function Console() {
  const place = usePlace();
  const info = useAsk((signal) => api.info(signal), [], 2_000);
  return (
    <Shell place={place} info={info}>
      {info.failure?.code === "unauthenticated" ? (
        <SignIn failure={info.failure} />
      ) : (
        <Page place={place} info={info} />
      )}
    </Shell>
  );
}

interface PageProps {
  readonly place: Place;
  readonly info: Asked<GetInfoResponseJson>;
}

function Page({ place, info }: PageProps) {
  const [section = "", name] = place.path;
  switch (section) {
    case "":
      return <OverviewPage info={info} />;
    case "events":
      if (name !== undefined) return <EventPage place={place} />;
      return <EventsPage place={place} />;
    case "streams":
      if (name !== undefined) return <StreamPage key={name} place={place} />;
      return <StreamsPage place={place} />;
    case "types":
      return <TypesPage />;
    case "groups":
      return name === undefined ? <GroupsPage /> : <GroupPage key={name} place={place} />;
    case "checkpoints":
      return <CheckpointsPage head={info.value?.head ?? "0"} />;
    case "lifecycles":
      return <LifecyclesPage info={info.value} />;
    case "server":
      return <ServerPage info={info} />;
    default:
      return (
        <>
          <header class="page-head">
            <h1>There is no such page</h1>
          </header>
          <p>
            <a href="#/">Go to the first page</a>
          </p>
        </>
      );
  }
}

const root = document.querySelector("#app");
if (root !== null) {
  root.replaceChildren();
  render(<Console />, root);
}
