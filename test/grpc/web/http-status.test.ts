// An answer in JSON needs room for its bytes. Where there is none, the call is reset: it never hangs.
import { expect, test } from "vitest";
import { invalidField } from "../../../src/domain/errors.ts";
import { respondWithError } from "../../../src/grpc/web/http-status.ts";
import { statusOf } from "../../../src/grpc/transport/status.ts";
import type { Http2Stream } from "../../../src/http2/api.ts";
import { errorCode } from "../../../src/http2/protocol.ts";

test.each([
  [true, ["respond", "write", "end"]],
  [false, [`reset ${errorCode.enhanceYourCalm}`]],
])("a refusal where there is room: %s", (hasRoom, expected) => {
  const done: string[] = [];
  const stream = {
    take: () => hasRoom,
    release() {},
    respond: () => done.push("respond"),
    write: () => done.push("write"),
    end: () => done.push("end"),
    reset: (code: number) => done.push(`reset ${code}`),
  } as unknown as Http2Stream;
  respondWithError(stream, statusOf(invalidField("stream", "is empty")), []);
  expect(done).toEqual(expected);
});
