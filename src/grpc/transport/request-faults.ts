// What is wrong with a request before it is decoded, as the status of its call.

import { StatusCode, StatusError } from "./status.ts";

export function compressedUnasked(): StatusError {
  return new StatusError(StatusCode.INTERNAL, "compressed without grpc-encoding");
}

export function endsWithin(): StatusError {
  const message = "the request ends within its message";
  return new StatusError(StatusCode.INVALID_ARGUMENT, message);
}

export function tooLong(bytes: number, receiveBytesMax: number): StatusError {
  const limit = `receive_bytes_max (${receiveBytesMax})`;
  const message = `the request message has ${bytes} bytes, more than ${limit}`;
  return new StatusError(StatusCode.RESOURCE_EXHAUSTED, message, undefined, { httpStatus: 413 });
}

export function unimplemented(message: string): StatusError {
  return new StatusError(StatusCode.UNIMPLEMENTED, message);
}
