// `annals streams update` and `annals streams delete`: sets a stream's policy, or deletes a stream.

import type { StreamInfo } from "../../gen/annals/v1/info_pb.js";
import {
  StreamLifecycle,
  StreamPolicyField,
  type StreamPolicy,
} from "../../gen/annals/v1/stream_service_pb.js";
import { expectedOf } from "./append.ts";
import { printAnswer } from "../connection/answer.ts";
import {
  connectionOptions,
  jsonOption,
  pairs,
  parse,
  UsageError,
  wholeNumber,
} from "../arguments/options.ts";
import { withSession } from "../connection/session.ts";
import type { Terminal } from "../output/terminal.ts";
import { ageOf, ageText, isoTime } from "../arguments/time.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  "expected-version": { type: "string" },
  expected: { type: "string" },
  actor: { type: "string" },
  reason: { type: "string" },
} as const;

const policyOptions = {
  ...options,
  "max-age": { type: "string" },
  "max-count": { type: "string" },
  "truncate-before": { type: "string" },
  label: { type: "string", multiple: true },
  "no-labels": { type: "boolean" },
  "keep-all": { type: "boolean" },
} as const;

type PolicyValues = {
  readonly [Name in "max-age" | "max-count" | "truncate-before"]?: string | undefined;
} & {
  readonly [Name in "no-labels" | "keep-all"]?: boolean | undefined;
} & { readonly label?: string[] | undefined };

/** Changes a stream's policy. An option that is not given leaves its field unchanged. */
export async function updateStream(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, policyOptions, { min: 1, max: 1 });
  const [stream = ""] = positionals;
  const { actor = "", reason = "" } = values;
  const change = { expected: expectedOf(values), ...changeIn(values) };
  const answer = await withSession(values, terminal, ({ streams, once }) =>
    streams.updateStream({ stream, actor, reason, ...change }, once),
  );
  const { position } = answer;
  const words = `updated: ${stream} keeps ${policyText(answer.policy)} (position ${position})`;
  const object = {
    stream,
    position: Number(position),
    policy: policyJson(answer.policy),
    recordedAt: isoTime(answer.recordedAt),
  };
  await printAnswer(terminal, values, object, words);
  return 0;
}

/** `none` removes a limit; `--keep-all` removes both. */
function changeIn(values: PolicyValues) {
  const { "max-age": age, "max-count": count, "truncate-before": before, label } = values;
  const keepAll = values["keep-all"] === true;
  if (keepAll && (age ?? count) !== undefined) {
    throw new UsageError("--keep-all goes without --max-age and --max-count");
  }
  if (values["no-labels"] === true && label !== undefined) {
    throw new UsageError("--no-labels goes without --label");
  }
  const clear = [
    ...(keepAll || age === "none" ? [StreamPolicyField.MAX_AGE] : []),
    ...(keepAll || count === "none" ? [StreamPolicyField.MAX_COUNT] : []),
    ...(values["no-labels"] === true ? [StreamPolicyField.LABELS] : []),
  ];
  if (clear.length === 0 && (age ?? count ?? before ?? label) === undefined) {
    const fields = "--max-age, --max-count, --truncate-before, --label, --no-labels";
    throw new UsageError(`say what is to change: ${fields}, or --keep-all`);
  }
  const policy = {
    ...(age !== undefined && age !== "none" && { maxAge: ageOf(age, "--max-age") }),
    maxCount: count === "none" ? 0n : bigNumber(count, "--max-count"),
    truncateBefore: bigNumber(before, "--truncate-before"),
    labels: pairs(label ?? [], "--label"),
  };
  return { policy, clear };
}

function bigNumber(text: string | undefined, option: string): bigint {
  return text === undefined ? 0n : BigInt(wholeNumber(text, option, { min: 1 }));
}

const deleteOptions = { ...options, permanent: { type: "boolean" } } as const;

export async function deleteStream(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, deleteOptions, { min: 1, max: 1 });
  const [stream = ""] = positionals;
  const { actor = "", reason = "", permanent = false } = values;
  const request = { stream, expected: expectedOf(values), permanent, actor, reason };
  const answer = await withSession(values, terminal, ({ streams, once }) =>
    streams.deleteStream(request, once),
  );
  const { position, version } = answer;
  const how = permanent ? "deleted permanently" : "deleted";
  const object = {
    stream,
    position: Number(position),
    version: Number(version),
    permanent,
    recordedAt: isoTime(answer.recordedAt),
  };
  const words = `${how}: ${stream}@${version} (position ${position})`;
  await printAnswer(terminal, values, object, words);
  return 0;
}

/** A policy as text for people. */
export function policyText(policy: StreamPolicy | undefined): string {
  const { maxAge, maxCount = 0n, truncateBefore = 0n } = policy ?? {};
  const bounds = [
    ...(maxAge === undefined ? [] : [`events younger than ${ageText(maxAge)}`]),
    ...(maxCount === 0n ? [] : [`the newest ${maxCount} events`]),
    ...(truncateBefore === 0n ? [] : [`versions from ${truncateBefore}`]),
  ];
  return bounds.length === 0 ? "everything" : bounds.join(", of that ");
}

export function policyJson(policy: StreamPolicy | undefined): object {
  const { maxAge, maxCount = 0n, truncateBefore = 0n, labels = {} } = policy ?? {};
  return {
    ...(maxAge !== undefined && { maxAge: ageText(maxAge) }),
    ...(maxCount > 0n && { maxCount: Number(maxCount) }),
    ...(truncateBefore > 0n && { truncateBefore: Number(truncateBefore) }),
    labels,
  };
}

export function lifecycleName({ lifecycle }: StreamInfo): "active" | "deleted" | "tombstoned" {
  switch (lifecycle) {
    case StreamLifecycle.DELETED:
      return "deleted";
    case StreamLifecycle.TOMBSTONED:
      return "tombstoned";
    default:
      return "active";
  }
}
