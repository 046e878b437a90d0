// The numbers of HTTP/2, and its errors. Source: RFC 9113, sections 3.4, 4.1, 6, 6.5.2 and 7.

export const preface: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
/** In bytes. */
export const sizes = {
  /** Of a frame: length (3 bytes), type, flags, stream (4 bytes). */
  head: 9,
  /** Of a frame: the server neither allows nor sends more. */
  payloadMax: 16_384,
  initialWindow: 65_535,
  /** Also the mask of a stream's identifier: the bit before it means nothing. */
  windowMax: 0x7fff_ffff,
} as const;

export const type = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const errorCode = {
  noError: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  enhanceYourCalm: 11,
} as const;

/** What our PINGs hold, to tell what their answers mean. */
export const ping = { keepalive: 1, drain: 2 } as const;

/** These numbers in 32 bits each. */
export function uint32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, i * 4);
  return bytes;
}

/** Ends a stream by RST_STREAM or, where `id` is 0, the connection by GOAWAY with the message. */
export class Http2Error extends Error {
  readonly code: number;
  readonly id: number;

  constructor(code: keyof typeof errorCode, message: string, id = 0) {
    super(message);
    this.code = errorCode[code];
    this.id = id;
  }
}
