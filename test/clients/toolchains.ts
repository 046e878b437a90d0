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
}

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
  },
  {
    name: "python",
    needs: [
      ["python3", "--version"],
      ["python3", "-m", "venv", "--help"],
    ],
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
  },
  {
    name: "java",
    needs: [
      ["javac", "-version"],
      ["mvn", "--version"],
    ],
    build: [["mvn", "--batch-mode", "--quiet", "package"]],
    run: ["java", "-cp", "target/classes:target/lib/*", "example.Conversation"],
    parsers: { "protobuf-java": ["java", "-cp", "target/classes:target/lib/*", "example.Parse"] },
  },
  {
    name: "rust",
    needs: [["cargo", "--version"]],
    build: [["cargo", "build", "--quiet"]],
    run: ["target/debug/annals-client"],
    parsers: { prost: ["target/debug/parse"] },
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
