// `annals checkpoints`: lists, shows, saves and deletes the checkpoints of named consumers.

import type { ConsumerCheckpoint } from "../../gen/annals/v1/checkpoint_service_pb.js";
import { pageSize, printAnswer, printList } from "../connection/answer.ts";
import {
  CommandError,
  connectionOptions,
  jsonOption,
  pairs,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { withSession } from "../connection/session.ts";
import type { Terminal } from "../output/terminal.ts";
import { isoTime } from "../arguments/time.ts";

const options = { ...connectionOptions, ...jsonOption } as const;

type Verb = (args: readonly string[], terminal: Terminal) => Promise<number>;
const verbs = new Map<string, Verb>(
  Object.entries({ list: listAll, get: getOne, save: saveOne, delete: deleteOne }),
);

/** The first argument is the verb. Without arguments the command lists. */
export function checkpoints(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first = "list", ...rest] = args;
  if (first.startsWith("-")) return listAll(args, terminal);
  const verb = verbs.get(first);
  if (verb !== undefined) return verb(rest, terminal);
  throw new UsageError(`"${first}" is not one of ${[...verbs.keys()].join(", ")}`);
}

function listAll(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [prefix = ""] = positionals;
  return printList<ConsumerCheckpoint>(values, terminal, {
    columns: [
      { title: "CONSUMER", side: "left", columnsMax: 48 },
      { title: "POSITION", side: "right" },
      { title: "EPOCH", side: "left", isExtra: true },
      { title: "SAVED AT", side: "left" },
      { title: "KEY=VALUE", side: "left" },
    ],
    cells: (row) => [row.consumer, placeOf(row), row.epoch, isoTime(row.savedAt), factsOf(row)],
    json: checkpointJson,
    page: async (session, pageToken) => {
      const request = { prefix, pageSize, pageToken };
      const page = await session.checkpoints.listCheckpoints(request, session.once);
      return { rows: page.checkpoints, nextPageToken: page.nextPageToken };
    },
  });
}

async function getOne(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [consumer = ""] = positionals;
  const { checkpoint } = await withSession(values, terminal, (session) =>
    session.checkpoints.getCheckpoint({ consumer }, session.once),
  );
  return told(terminal, values, checkpoint);
}

async function saveOne(args: readonly string[], terminal: Terminal): Promise<number> {
  const known = {
    ...options,
    reset: { type: "boolean" },
    epoch: { type: "string" },
    meta: { type: "string", multiple: true },
  } as const;
  const { values, positionals } = parse(args, known, { min: 2, max: 2 });
  const [consumer = "", text = ""] = positionals;
  const position = BigInt(wholeNumber(text, "POSITION"));
  const { reset = false, epoch = "", meta = [] } = values;
  const request = { consumer, position, reset, epoch, metadata: pairs(meta, "--meta") };
  const { checkpoint } = await withSession(values, terminal, (session) =>
    session.checkpoints.saveCheckpoint(request, session.once),
  );
  return told(terminal, values, checkpoint);
}

async function deleteOne(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [consumer = ""] = positionals;
  const { deleted } = await withSession(values, terminal, (session) =>
    session.checkpoints.deleteCheckpoint({ consumer }, session.once),
  );
  const words = deleted ? `deleted: ${consumer}` : `${consumer} has no checkpoint`;
  await printAnswer(terminal, values, { consumer, deleted }, words);
  return 0;
}

async function told(
  terminal: Terminal,
  values: { readonly json?: boolean | undefined },
  checkpoint: ConsumerCheckpoint | undefined,
): Promise<number> {
  if (checkpoint === undefined)
    throw new CommandError("the server's answer contains no checkpoint");
  const { consumer, savedAt } = checkpoint;
  const facts = factsOf(checkpoint);
  const text = `${consumer} is at position ${placeOf(checkpoint)}, saved ${isoTime(savedAt)}`;
  const words = text + (facts === "" ? "" : `, ${facts}`);
  await printAnswer(terminal, values, checkpointJson(checkpoint), words);
  return 0;
}

/** The position, and the log whose position it is. */
function placeOf({ position, source }: ConsumerCheckpoint): string {
  return source === "" ? `${position}` : `${position} of ${source}`;
}

function factsOf({ metadata }: ConsumerCheckpoint): string {
  const facts = Object.entries(metadata).map(([key, value]) => `${key}=${value}`);
  return facts.join(" ");
}

function checkpointJson(checkpoint: ConsumerCheckpoint): object {
  const { consumer, source, epoch, savedAt, metadata } = checkpoint;
  // Positions of other logs may be greater than JSON's readers take.
  const position = source === "" ? Number(checkpoint.position) : String(checkpoint.position);
  const place = source === "" ? { position, epoch } : { position, source };
  return { consumer, ...place, savedAt: isoTime(savedAt), metadata };
}
