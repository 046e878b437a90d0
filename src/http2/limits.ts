// Every limit of a server, by name, with its default. README.md says what happens beyond each. If a
// limit ends a connection, the GOAWAY frame's debug data name it.

const KiB = 1024;

const limits = {
  /** Connections of the server, and those from one address (Unix sockets count as one). */
  connectionsMax: 8_192,
  connectionsPerAddressMax: 4_096,
  /** How often the time limits of connections are checked. */
  tickMs: 1_000,
  /**
   * From a connection's beginning until TLS, preface and first SETTINGS frame are there. A client
   * that prepares thousands of calls may be seconds late.
   */
  handshakeMs: 20_000,
  /** Until the next frame, where a frame or a block of headers has begun. */
  frameMs: 10_000,
  /** A PING is sent after this time without a byte from the client (0: never). One must follow. */
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 20_000,
  /** The age at which a connection ends, give or take a tenth (0: never). */
  connectionAgeMs: 0,
  connectionAgeGraceMs: 60_000,
  /** The time for a client to answer GOAWAY and to close the connection. */
  drainPingMs: 1_000,
  lingerMs: 1_000,
  concurrentStreamsMax: 1_000,
  /** Bytes that a client may send on a stream before the caller allows more. At least 65,535. */
  streamWindowBytes: 256 * KiB,
  /** Bytes that a client may send on all streams of a connection together. At least 65,535. */
  connectionWindowBytes: 1024 * KiB,
  /**
   * The size of a request's headers: as they come, and as RFC 9113 counts them (6.5.2). The former
   * is larger, so that headers somewhat beyond the latter cost their request alone.
   */
  headerBlockBytesMax: 128 * KiB,
  headerListBytesMax: 64 * KiB,
  headerFieldsMax: 512,
  continuationsMax: 8,
  /** Requests that are reset, by the client or for its faults: at once, and in the long run. */
  resetsBurst: 1_000,
  resetsPerSecond: 100,
  /**
   * Frames that carry no part of a request (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, RST_STREAM,
   * empty DATA, DATA and HEADERS of streams that are over, unknown ones): at once, in the long run,
   * and more for each frame that carries one.
   */
  controlFramesBurst: 10_000,
  controlFramesPerSecond: 1_000,
  controlFramesEarned: 4,
  /** Output that the socket has not taken. Answers wait at this size, reading at twice of it. */
  outputBytesMax: 128 * KiB,
  /** A request that continues after its answer is dropped up to this size, and then reset. */
  drainBytesMax: 1024 * KiB,
  drainMs: 100,
  /** Drawn from the budget for a connection: its tables, an incomplete frame, a chunk of output. */
  connectionBytes: 48 * KiB,
  /** Drawn from the budget for a stream, without its headers. */
  streamBytes: 2 * KiB,
};

export type Http2Limits = Readonly<typeof limits>;
export const defaultHttp2Limits: Http2Limits = Object.freeze(limits);
