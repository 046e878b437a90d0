// What each client needs on the machine, how it is generated and built the way its users do it, and
// how it is started. `name` is the folder of its sources beside this file.

export interface Toolchain {
  readonly name: string;
  /** Commands that answer where the tool is there; what they print is part of the build's key. */
  readonly needs: readonly (readonly string[])[];
  /**
   * Debian packages with what is needed, where they are not part of the language's own
   * toolchain.
   */
  readonly debianPackages?: readonly string[];
  /** Run in order, in a folder with the sources and, beside them, `proto` and `third_party`. */
  readonly build: readonly (readonly string[])[];
  /** The program, in that folder. */
  readonly run: readonly string[];
  /** By parser: a program that prints the answers on its standard input (parsed-alike.test.ts). */
  readonly parsers?: Readonly<Record<string, readonly string[]>>;
  /** By client: a program that holds the second conversation (wire.test.ts). */
  readonly wire?: Readonly<Record<string, readonly string[]>>;
}

export const pythonNeeds = [
  ["python3", "--version"],
  ["python3", "-m", "venv", "--help"],
];

export const javaNeeds = [
  ["javac", "-version"],
  ["mvn", "--version"],
];

export const languages: readonly Toolchain[] = [
  {
    name: "go",
    needs: [["go", "version"]],
    build: [
      ["buf", "generate", "proto"],
      ["go", "build", "-o", "client", "."],
    ],
    run: ["./client"],
    parsers: { "google.golang.org/protobuf": ["go", "run", "./parse"] },
    wire: { "grpc-go": ["go", "run", "./wire"] },
  },
  {
    name: "python",
    needs: pythonNeeds,
    build: [
      ["python3", "-m", "venv", "venv"],
      ["venv/bin/pip", "install", "--quiet", "--requirement", "requirements.txt"],
      [
        "venv/bin/python",
        ..."-m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=.".split(" "),
        "proto/annals/v1/*.proto",
      ],
    ],
    run: ["venv/bin/python", "conversation.py"],
    parsers: {
      upb: ["venv/bin/python", "parse.py"],
      "Python without upb":
        "env PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python venv/bin/python parse.py".split(" "),
    },
    wire: Object.fromEntries(
      ["grpcio", "grpcio.aio", "grpclib"].map((library) => [
        library,
        ["venv/bin/python", "wire.py", library],
      ]),
    ),
  },
  {
    name: "java",
    needs: javaNeeds,
    build: [["mvn", "--batch-mode", "--quiet", "package"]],
    run: ["java", "-cp", "target/classes:target/lib/*", "example.Conversation"],
    parsers: { "protobuf-java": ["java", "-cp", "target/classes:target/lib/*", "example.Parse"] },
    wire: Object.fromEntries(
      ["netty", "okhttp"].map((transport) => [
        `grpc-java over ${transport}`,
        ["java", "-cp", "target/classes:target/lib/*", "example.Wire", transport],
      ]),
    ),
  },
  {
    name: "rust",
    needs: [["cargo", "--version"]],
    build: [["cargo", "build", "--quiet"]],
    run: ["target/debug/annals-client"],
    parsers: { prost: ["target/debug/parse"] },
    wire: { tonic: ["target/debug/wire"] },
  },
  {
    name: "cpp",
    needs: [
      ["g++", "--version"],
      ["cmake", "--version"],
      ["pkg-config", "--modversion", "grpc++", "protobuf"],
      ["which", "protoc", "grpc_cpp_plugin"],
    ],
    debianPackages: [
      ..."g++ cmake make pkg-config protobuf-compiler protobuf-compiler-grpc".split(" "),
      ..."libprotobuf-dev libgrpc++-dev".split(" "),
    ],
    build: [
      ["cmake", "-S", ".", "-B", "build"],
      ["cmake", "--build", "build", "--parallel", "2"],
    ],
    run: ["build/client"],
    parsers: { libprotobuf: ["build/parse"] },
    wire: {
      "grpc C++, synchronous": ["build/wire", "synchronous"],
      "grpc C++, callbacks": ["build/wire", "callbacks"],
    },
  },
  {
    name: "typescript",
    needs: [
      ["node", "--version"],
      ["npm", "--version"],
    ],
    build: [
      ["npm", "ci", "--ignore-scripts", "--silent"],
      ["buf", "generate"],
      ["node_modules/.bin/tsc"],
    ],
    run: ["node", "dist/conversation.js"],
    parsers: {
      "ts-proto": ["node", "dist/parse.js", "ts-proto"],
      protobufjs: ["node", "dist/parse.js", "protobufjs"],
    },
  },
];

/** Clients that hold the second conversation alone. */
export const wireOnly: readonly Toolchain[] = [
  {
    name: "node",
    needs: [
      ["node", "--version"],
      ["npm", "--version"],
    ],
    build: [
      ["npm", "ci", "--ignore-scripts", "--silent"],
      ["buf", "build", "proto", "--output", "annals.binpb"],
      ["buf", "build", "third_party", "--path", "third_party/google/rpc", "--output", "rpc.binpb"],
    ],
    run: [],
    wire: {
      "connect-node": ["node", "wire.mjs", "connect-node"],
      "grpc-js with proto-loader": ["node", "wire.mjs", "proto-loader"],
    },
  },
  {
    name: "ruby",
    needs: [
      ["ruby", "-e", 'require "grpc"; puts GRPC::VERSION'],
      ["which", "protoc", "grpc_ruby_plugin"],
    ],
    debianPackages: "ruby ruby-grpc protobuf-compiler protobuf-compiler-grpc".split(" "),
    build: [
      ["mkdir", "-p", "gen"],
      [
        ..."protoc -I proto -I third_party --ruby_out=gen --grpc_out=gen".split(" "),
        "--plugin=protoc-gen-grpc=/usr/bin/grpc_ruby_plugin",
        "proto/annals/v1/*.proto",
        ..."third_party/google/rpc/status.proto third_party/google/rpc/error_details.proto".split(
          " ",
        ),
      ],
    ],
    run: [],
    wire: { "grpc for Ruby": ["ruby", "wire.rb"] },
  },
];

/**
 * The official Rust clients of KurrentDB and UmaDB. Together they build some 250 crates, which takes
 * minutes: only where RUST_CLIENTS=1 asks for it.
 */
export const rustProtocols: Toolchain = {
  name: "protocols-rust",
  needs: [
    ["cargo", "--version"],
    ["sh", "-c", 'test "$RUST_CLIENTS" = 1'],
  ],
  build: [["cargo", "build", "--quiet"]],
  run: [],
};

/** The usual command-line client, from its module; `buf curl` is this project's own dependency. */
export const grpcurl: Toolchain = {
  name: "grpcurl",
  needs: [["go", "version"]],
  build: [["go", "build", "-o", "grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl"]],
  run: ["./grpcurl"],
};

/** The conformance tests of HTTP/2, from their module. */
export const h2spec: Toolchain = {
  name: "h2spec",
  needs: [["go", "version"]],
  build: [["go", "build", "-o", "h2spec", "github.com/summerwind/h2spec/cmd/h2spec"]],
  run: ["./h2spec"],
};
