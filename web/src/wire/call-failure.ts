// Why a call failed, as the console tells it: the code of Connect, the reason of Annals, and what
// `google.rpc.ErrorInfo` among the error's details says.

/** As `google.rpc.Code`, in the words of Connect; `unreachable`: there was no answer at all. */
export type CallCode = string;

export interface ErrorDetail {
  readonly type: string;
  /** The detail as JSON. */
  readonly debug?: unknown;
}

interface ErrorInfo {
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

export class CallFailure extends Error {
  override readonly name = "CallFailure";
  readonly code: CallCode;
  /** `ErrorReason` without its prefix, for example `STREAM_NOT_FOUND`. Empty: none was given. */
  readonly reason: string;
  readonly metadata: ReadonlyMap<string, string>;

  constructor(code: CallCode, message: string, details: readonly ErrorDetail[] = []) {
    super(message);
    this.code = code;
    const info = details.find(({ type }) => type === "google.rpc.ErrorInfo");
    const { reason = "", metadata = {} } = (info?.debug ?? {}) as ErrorInfo;
    this.reason = reason;
    this.metadata = new Map(Object.entries(metadata));
  }
}

export function isAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** True: asking again may help, because the server was not there or could not answer now. */
export function isPassing({ code }: CallFailure): boolean {
  return code === "unreachable" || code === "unavailable" || code === "resource_exhausted";
}

export function failureOf(error: unknown): CallFailure {
  if (error instanceof CallFailure) return error;
  // What `fetch` throws where nothing answers says nothing that helps.
  if (error instanceof TypeError) return new CallFailure("unreachable", "the server is not there");
  return new CallFailure("internal", error instanceof Error ? error.message : String(error));
}
