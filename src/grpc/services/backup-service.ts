// The backup service: sends the store to its copies.

import { create } from "@bufbuild/protobuf";
import {
  CopyResponseSchema,
  PromoteResponseSchema,
  type BackupService,
  type CopyRequest,
  type CopyResponse,
} from "../../gen/annals/v1/backup_service_pb.js";
import type { CopyPart, CopyStart, StoredEntry } from "../../storage/copy.ts";
import { checkUint64, Violations } from "../convert/checks.ts";
import { epochInfo } from "../convert/epoch.ts";
import { timestamp } from "../convert/time.ts";
import type { Call } from "../transport/call-environment.ts";
import type { Handlers } from "../transport/methods.ts";
import { StatusCode, StatusError } from "../transport/status.ts";
import type { ServiceContext } from "./context.ts";

const chainBytes = 32;
const cursorLengthMax = 64;

export function backupService(context: ServiceContext): Handlers<typeof BackupService> {
  return {
    copy: (request, call) => copy(context, request, call),
    promote: () => promote(context),
  };
}

async function* copy(
  { log }: ServiceContext,
  wire: CopyRequest,
  call: Call,
): AsyncGenerator<CopyResponse> {
  const parts = log.copy(convertCopy(wire), call);
  if (parts === undefined) {
    const message = "the store's engine makes no copies";
    throw new StatusError(StatusCode.UNIMPLEMENTED, message, "UNIMPLEMENTED");
  }
  for await (const part of parts) yield create(CopyResponseSchema, { message: messageOf(part) });
}

async function promote({ promote: make }: ServiceContext) {
  if (make === undefined) {
    throw new StatusError(StatusCode.FAILED_PRECONDITION, "this server is no follower");
  }
  const { storeId, epoch, head, isExact: exact } = await make();
  return create(PromoteResponseSchema, { storeId, epoch, position: BigInt(head), exact });
}

function convertCopy({ position, chain, cursor, follow }: CopyRequest): CopyStart {
  const v = new Violations();
  const from = checkUint64(v, "position", position);
  const bytes = from === 0 ? 0 : chainBytes;
  if (chain.length !== bytes) v.add("chain", `has ${chain.length} bytes, not ${bytes}`);
  if (cursor.length > cursorLengthMax) v.add("cursor", "was not made by this server");
  v.throwIfAny();
  return { position: from, chain, cursor, follow };
}

function messageOf(part: CopyPart) {
  switch (part.kind) {
    case "begin": {
      const { storeId, formatVersion, createdAt, history, time, head, isContinued } = part.store;
      const value = {
        storeId,
        formatVersion,
        createdAt: timestamp(createdAt),
        epochs: history.map(epochInfo),
        time: timestamp(time),
        head: BigInt(head),
        continued: isContinued,
      };
      return { case: "begin", value } as const;
    }
    case "commits": {
      const { chunks, rewritten, sideValues, isWhole, cursor = "", head } = part.commits;
      const value = {
        chunks: [...chunks],
        rewritten: [...rewritten],
        sideValues: sideValues.map(wireEntry),
        whole: isWhole,
        cursor,
        head: BigInt(head),
      };
      return { case: "commits", value } as const;
    }
    case "side-values":
      return { case: "sideValues", value: { entries: part.entries.map(wireEntry) } } as const;
    case "state": {
      const { position, chain, sideValueCount, sideValuesHash, cursor } = part.state;
      const value = {
        position: BigInt(position),
        chain,
        sideValueCount: BigInt(sideValueCount),
        sideValuesSha256: sideValuesHash,
        cursor,
      };
      return { case: "state", value } as const;
    }
    case "progress":
      return { case: "progress", value: { head: BigInt(part.head) } } as const;
  }
}

function wireEntry({ key, value }: StoredEntry) {
  return { key, value: value ?? new Uint8Array() };
}
