// The rooms of the source code and what each may import. test/tidy.test.ts holds the code to it.

interface Room {
  /** A folder (ending in `/`) or one file. A file belongs to the room with the longest match. */
  path: string;
  /** Rooms it may import from, besides itself. */
  imports: string[];
  /** npm packages it may import. Absent: the protobuf runtime alone. */
  packages?: string[];
  /** False: it may not import Node's modules. */
  node?: false;
}

export const wire = "@bufbuild/protobuf";
const grpc = "@grpc/grpc-js";

/** The rooms of the domain, without clock, randomness and I/O. */
const words = ["domain", "lifecycle", "decide", "group"];
/** What every room of the LevelDB engine may import. */
const engineBase = ["domain", "lifecycle", "storage"];
/** What every room of the log may import. */
const logBase = ["gen", "domain", "storage", "log"];
const database = "src/storage/leveldb/";
const openStore = ["format", "kv", "state", "read", "write"];
/** What every room of the TypeScript SDK may import. */
const storeClient = ["gen", "rpc", "store"];

const kurrent = "src/protocols/kurrentdb/";
const commands = "src/cli/";
/** What every command that talks to a server may import. */
const clientCommand = ["gen", "escape", "rpc", "cliArguments", "cliOutput", "cliConnection"];

/**
 * The allowed imports, type-only ones included. A room imports only rooms above it in this table,
 * so that there is no cycle. Every file of src belongs to a room of this table.
 */
export const rooms: Record<string, Room> = {
  gen: { path: "src/gen/", imports: [], node: false },
  domain: { path: "src/domain/", imports: ["gen"], node: false },
  lifecycle: { path: "src/domain/lifecycle/", imports: ["gen", "domain"], node: false },
  decide: { path: "src/domain/decide/", imports: ["domain", "lifecycle"], node: false },
  group: { path: "src/domain/group/", imports: ["gen", "domain"], node: false },
  escape: { path: "src/escape.ts", imports: [], packages: [] },
  version: { path: "src/version.ts", imports: [], packages: [] },
  memory: { path: "src/process-memory.ts", imports: [], packages: [] },
  logger: { path: "src/logger.ts", imports: ["escape"], packages: [] },
  sockets: { path: "src/sockets/", imports: ["logger"], packages: [] },
  http2: { path: "src/http2/", imports: ["sockets"], packages: [] },
  http: { path: "src/http/", imports: ["sockets", "http2"], packages: [] },
  console: { path: "src/console/", imports: ["http"], packages: [] },
  options: { path: "src/options.ts", imports: ["domain", "memory"], packages: [] },
  config: { path: "src/config.ts", imports: ["options"], packages: [] },

  storage: { path: "src/storage/", imports: ["domain", "lifecycle"] },
  format: { path: `${database}format/`, imports: ["domain"] },
  kv: { path: `${database}kv/`, imports: ["domain", "memory"], packages: ["level"] },
  folder: { path: `${database}folder/`, imports: ["domain", "format"] },
  files: { path: `${database}files/`, imports: [...engineBase, "format", "kv", "folder"] },
  state: { path: `${database}state/`, imports: [...engineBase, "format", "kv", "memory"] },
  read: { path: `${database}read/`, imports: [...engineBase, "format", "kv", "state"] },
  write: {
    path: `${database}write/`,
    imports: [...engineBase, "format", "kv", "folder", "state", "read"],
  },
  verify: {
    path: `${database}verify/`,
    imports: [...engineBase, "format", "kv", "folder", "state"],
  },
  upkeep: {
    path: `${database}upkeep/`,
    imports: [...engineBase, ...openStore, "folder", "files", "verify"],
  },
  copy: {
    path: `${database}copy/`,
    imports: [...engineBase, ...openStore, "verify", "upkeep"],
  },
  create: {
    path: `${database}create.ts`,
    imports: ["domain", "format", "kv", "folder", "state"],
  },
  offline: {
    path: `${database}offline/`,
    imports: [...engineBase, ...openStore, "folder", "files", "verify", "copy", "create"],
  },
  checkedOpen: {
    path: `${database}checked-open.ts`,
    imports: [...engineBase, "format", "kv", "folder", "files", "verify", "write", "create"],
    packages: [],
  },
  open: {
    path: `${database}open.ts`,
    imports: [...engineBase, ...openStore, "folder", "verify", "upkeep"].concat([
      "copy",
      "create",
      "checkedOpen",
    ]),
    packages: [],
  },

  postgres: {
    path: "src/storage/postgres/",
    imports: [...engineBase, "format"],
    packages: ["pg"],
  },

  moving: {
    path: "src/storage/moving/",
    imports: [...engineBase, "format", "kv", "folder", "write", "copy"].concat([
      "create",
      "offline",
      "open",
      "postgres",
    ]),
    packages: [],
  },

  scheduling: { path: "src/log/scheduling/", imports: ["domain", "storage"], packages: [] },
  log: { path: "src/log/", imports: ["domain", "decide", "group", "storage", "scheduling"] },
  append: { path: "src/log/append/", imports: [...logBase, "decide", "scheduling"] },
  logRead: { path: "src/log/read/", imports: [...logBase, "lifecycle", "scheduling"] },
  subscribe: { path: "src/log/subscribe/", imports: [...logBase, "scheduling", "logRead"] },
  groups: {
    path: "src/log/groups/",
    imports: [...logBase, "lifecycle", "group", "scheduling", "logRead", "subscribe"],
  },
  eventLog: {
    path: "src/log/event-log.ts",
    imports: [...logBase, "scheduling", "append", "logRead", "subscribe", "groups"],
  },

  access: {
    path: "src/access/",
    imports: ["gen", "domain", "lifecycle"],
    packages: [wire, "jose"],
  },
  transport: {
    path: "src/grpc/transport/",
    imports: ["gen", "domain", "access", "log", "scheduling", "sockets", "http2", "logger"],
  },
  convert: {
    path: "src/grpc/convert/",
    imports: [...words, "gen", "log", "groups", "transport"],
  },
  services: {
    path: "src/grpc/services/",
    imports: ["gen", "domain", "access", "storage", "log", "transport", "convert"],
  },
  kurrentMapping: {
    path: `${kurrent}mapping/`,
    imports: ["gen", "domain", "lifecycle", "access", "log", "transport"],
  },
  kurrentAppend: {
    path: `${kurrent}append/`,
    imports: ["gen", "domain", "lifecycle", "log", "scheduling", "transport", "kurrentMapping"],
  },
  kurrentRead: {
    path: `${kurrent}read/`,
    imports: ["gen", "domain", "lifecycle", "log", "scheduling", "transport", "kurrentMapping"],
  },
  persistent: {
    path: `${kurrent}persistent/`,
    imports: [...words, "gen", "log", "transport", "kurrentMapping", "kurrentRead"],
  },
  kurrentV2: {
    path: `${kurrent}v2/`,
    imports: ["gen", "domain", "log", "scheduling", "transport"].concat([
      "kurrentMapping",
      "kurrentAppend",
    ]),
  },
  kurrentdb: {
    path: kurrent,
    imports: ["gen", "transport", "kurrentMapping", "kurrentAppend", "kurrentRead"].concat([
      "persistent",
      "kurrentV2",
    ]),
  },
  umadb: {
    path: "src/protocols/umadb/",
    imports: ["gen", "domain", "access", "log", "scheduling", "transport", "convert"],
  },
  cloudEvents: { path: "src/grpc/web/cloud-event.ts", imports: ["gen", "domain"] },
  web: {
    path: "src/grpc/web/",
    imports: ["gen", "domain", "http2", "http", "transport", "convert", "cloudEvents"],
  },
  auditStream: { path: "src/audit-stream.ts", imports: ["domain", "access", "log"], packages: [] },
  observe: {
    path: "src/observe/",
    imports: ["domain", "access", "storage", "log", "scheduling", "http", "transport"],
    packages: ["prom-client", "@opentelemetry/api"],
  },
  rpc: { path: "src/client/rpc/", imports: ["gen"], packages: [wire, grpc] },
  peers: {
    path: "src/peers/",
    imports: ["gen", "domain", "access", "transport", "rpc"],
    packages: [wire, grpc],
  },
  follow: {
    path: "src/follow/",
    imports: ["gen", "domain", "storage", "rpc"],
  },
  followingServer: {
    path: "src/following-server.ts",
    imports: ["domain", "storage", "create", "open", "follow", "options", "logger"],
    packages: [],
  },
  configuredAccess: {
    path: "src/configured-access.ts",
    imports: ["sockets", "access", "transport", "config", "options", "logger"],
    packages: [],
  },
  configuredStorage: {
    path: "src/configured-storage.ts",
    imports: ["storage", "open", "upkeep", "postgres", "options", "logger"],
    packages: [],
  },
  configuredTransport: {
    path: "src/configured-transport.ts",
    imports: ["domain", "transport", "log", "options", "logger"],
    packages: [],
  },
  server: {
    path: "src/server.ts",
    imports: [
      "sockets",
      "domain",
      "access",
      "storage",
      "open",
      "upkeep",
      "configuredAccess",
      "configuredStorage",
      "configuredTransport",
      "followingServer",
      "log",
      "scheduling",
      "eventLog",
      "transport",
    ].concat(
      [
        "services",
        "web",
        "http2",
        "kurrentMapping",
        "kurrentdb",
        "umadb",
        "auditStream",
        "observe",
      ],
      ["console", "options", "config", "logger", "memory", "version", "rpc", "peers"],
    ),
    packages: [],
  },

  store: { path: "src/client/store/", imports: ["gen", "rpc"], packages: [wire, grpc] },
  groupClient: { path: "src/client/group/", imports: storeClient, packages: [wire, grpc] },
  annalsClient: {
    path: "src/client/annals-client.ts",
    imports: [...storeClient, "groupClient"],
  },
  decider: { path: "src/client/decider/", imports: [...storeClient, "annalsClient"] },
  projection: { path: "src/client/projection/", imports: [...storeClient, "annalsClient"] },
  sdk: {
    path: "src/client/",
    imports: [...storeClient, "groupClient", "annalsClient", "decider", "projection"],
    packages: [wire, grpc],
  },

  cliArguments: { path: `${commands}arguments/`, imports: ["gen"] },
  cliOutput: { path: `${commands}output/`, imports: ["gen", "escape", "cliArguments"] },
  cliConnection: {
    path: `${commands}connection/`,
    imports: ["gen", "escape", "rpc", "cliArguments", "cliOutput"],
    packages: [],
  },
  cliServer: {
    path: `${commands}server/`,
    imports: [
      "domain",
      "access",
      "folder",
      "postgres",
      "options",
      "config",
      "server",
      "logger",
      ...clientCommand,
    ],
  },
  cliEvents: { path: `${commands}events/`, imports: ["domain", "store", ...clientCommand] },
  cliImport: {
    path: `${commands}import/`,
    imports: ["domain", "store", "cloudEvents", "kurrentMapping", ...clientCommand],
    packages: [wire, "pg"],
  },
  cliConsumers: {
    path: `${commands}consumers/`,
    imports: ["store", "groupClient", ...clientCommand],
  },
  cliFolders: {
    path: `${commands}folders/`,
    imports: ["domain", "storage", "folder", "offline", "postgres", "moving"].concat(
      "follow",
      "options",
      clientCommand,
    ),
    packages: [],
  },
  cli: {
    path: commands,
    imports: ["gen", "escape", "folder", "offline", "postgres", "rpc", "store"].concat([
      "cliArguments",
      "version",
      "cliOutput",
      "cliConnection",
      "cliServer",
      "cliEvents",
      "cliImport",
      "cliConsumers",
      "cliFolders",
    ]),
    packages: [],
  },
  main: { path: "src/main.ts", imports: ["cli"], packages: [] },
  bin: { path: "src/bin.ts", imports: ["main"], packages: [] },
};
