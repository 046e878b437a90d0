// The pages that the side bar leads to.

import type { IconName } from "./icon.tsx";

interface Section {
  readonly path: string;
  readonly label: string;
  readonly icon: IconName;
  /** Behind `g`. */
  readonly key: string;
}

export const sections: readonly Section[] = [
  { path: "", label: "Overview", icon: "overview", key: "o" },
  { path: "events", label: "Events", icon: "events", key: "e" },
  { path: "streams", label: "Streams", icon: "streams", key: "s" },
  { path: "types", label: "Types and tags", icon: "types", key: "t" },
  { path: "groups", label: "Consumer groups", icon: "groups", key: "g" },
  { path: "checkpoints", label: "Checkpoints", icon: "checkpoints", key: "c" },
  { path: "lifecycles", label: "Lifecycles", icon: "lifecycles", key: "l" },
  { path: "server", label: "Server", icon: "server", key: "v" },
];
