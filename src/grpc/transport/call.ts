// One call, from its request's headers to its status. Its parts are the incoming messages, the
// outgoing messages, and the early end. Its stages, in order:
//
//   admit    who calls, and may they call this         src/access, until the call is over
//   split    HTTP/2 data into messages                 incoming.ts
//   inflate  those that are compressed                 inflate.ts
//   decode   a message's bytes into a request          decode.ts, by methods.ts
//   permit   may they touch what the request names     src/access, by methods.ts
//   run      the handler                               grpc/services
//   encode   its answers as bytes                      methods.ts
//   frame    answers as HTTP/2 data, and the status    outgoing.ts, call-format.ts

import type { AccessControl } from "../../access/access-control.ts";
import type { Admission, Visitor } from "../../access/admission.ts";
import type { Need } from "../../access/grants.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type { Steps } from "../../domain/steps.ts";
import type { StreamHandler, Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import type { CancelListener } from "../../log/cancellation.ts";
import { furtherSteps, type Gate } from "../../log/scheduling/scheduler.ts";
import { failed, tooMuchHeld, type Call, type CallEnvironment } from "./call-environment.ts";
import {
  answerNotHeld,
  maybeStored,
  streamingWords,
  unaryWords,
  type EndWords,
} from "./call-end.ts";
import type { ObservedCall } from "./call-observer.ts";
import { Incoming, type IncomingOptions } from "./incoming.ts";
import type { PrefixedMessages } from "./message-parts.ts";
import type { Bytes, Method } from "./methods.ts";
import { Outgoing } from "./outgoing.ts";
import { StatusCode, type CallStatus } from "./status.ts";

/** No answer to a method that changes the store is larger. */
const smallAnswerBytesMax = 16 * 1024;

/**
 * What a decoded message takes in memory, with what a handler makes of it, for each byte of the
 * request: measured with the largest queries.
 */
const decodedShare = 4;
/** The message of a smaller request is counted with its stream. */
const smallBytesMax = 1_024;

export interface RequestOptions extends IncomingOptions {
  /** The time from the start of the call to its deadline. Undefined: it has no deadline. */
  readonly timeoutMs: number | undefined;
  readonly isRepeated: boolean;
}

export class GrpcCall implements Call, StreamHandler, Visitor, ObservedCall {
  readonly connection: Http2Stream["connection"];
  readonly headers: ReadonlyMap<string, string>;
  readonly path: string;
  readonly peer: string;
  readonly isRepeated: boolean;
  readonly isStream: boolean;
  private readonly stream: Http2Stream;
  private readonly method: Method;
  private readonly environment: CallEnvironment;
  private readonly incoming: Incoming;
  private readonly outgoing: Outgoing;
  /** Undefined: the server does not authenticate callers, or the call was refused. */
  private readonly admission: Admission | undefined;
  /** Why the call ended early. Undefined: it has not. */
  reason: AnnalsError | undefined;
  private readonly deadline: NodeJS.Timeout | undefined;
  private controller: AbortController | undefined;
  private readonly listeners: CancelListener[] = [];
  private hasBegun = false;
  /** From then on, neither deadline nor cancellation means anything. */
  private isAnswered = false;
  /** Undefined: nobody is told of the call, or they have been told of its end. */
  private beganMs: number | undefined;
  /** Bytes drawn from the budget for the handler. */
  private heldBytes = 0;

  constructor(
    stream: Http2Stream,
    method: Method,
    options: RequestOptions,
    environment: CallEnvironment,
  ) {
    this.stream = stream;
    this.connection = stream.connection;
    this.headers = stream.headers;
    this.method = method;
    this.path = method.path;
    this.peer = stream.connection.peer;
    this.environment = environment;
    this.isRepeated = options.isRepeated;
    this.isStream = method.kind !== "unary";
    if (options.timeoutMs !== undefined) {
      this.deadline = setTimeout(() => this.end("DEADLINE_EXCEEDED"), options.timeoutMs);
    }
    const { access, observer } = environment;
    this.beganMs = observer === undefined ? undefined : performance.now();
    this.outgoing = new Outgoing(stream, environment, options.format.answers, this, this.lose);
    observer?.begun?.(this);
    this.incoming = new Incoming(stream, options, this, environment, this.arrived);
    this.admission = access && this.admit(access);
    if (this.isAnswered || method.kind === "unary" || method.kind === "server_streaming") return;
    // Some clients send nothing before they have seen the answer's headers.
    if (method.kind === "bidi_streaming") this.outgoing.begin();
    this.begin(this.incoming);
  }

  get traceParent(): string | undefined {
    return this.headers.get("traceparent");
  }

  get gate(): Gate {
    return this.environment.scheduler.gateOf(this.connection);
  }

  get authorization(): string | undefined {
    return this.headers.get("authorization");
  }

  get certificate(): Visitor["certificate"] {
    return this.connection.certificate;
  }

  get methodName(): string {
    return this.method.path.slice(1);
  }

  get principal(): string {
    return this.admission?.principal ?? "";
  }

  get proof(): Admission["proof"] {
    return this.admission?.proof;
  }

  permit(request: unknown): void {
    this.admission?.permit(request);
  }

  require(needs: readonly Need[]): void {
    this.admission?.require(needs);
  }

  onData(part: Buffer): void {
    this.incoming.push(part);
  }

  onEnd(): void {
    this.incoming.complete();
  }

  hold(bytes: number): void {
    if (!this.stream.take(bytes)) throw tooMuchHeld();
    this.heldBytes += bytes;
  }

  release(bytes: number): void {
    // What the handler held was released when it ended.
    const held = Math.min(bytes, this.heldBytes);
    this.heldBytes -= held;
    this.stream.release(held);
  }

  inSteps<T>(steps: Steps<T>): T | Promise<T> {
    const first = steps.next();
    return first.done === true ? first.value : furtherSteps(this, steps, first.value);
  }

  sendHeaders(): void {
    if (!this.isAnswered && !this.aborted) this.outgoing.begin();
  }

  room(): Promise<void> | undefined {
    return this.outgoing.room();
  }

  offer(answer: PrefixedMessages): boolean {
    return !this.aborted && this.outgoing.offer(answer);
  }

  onRefused(): void {
    const error = tooMuchHeld();
    this.revoke(error);
    // The handler answers with the outcome when it is known.
    if (this.method.kind === "unary" && this.hasBegun && !this.isAnswered) return;
    this.refuse(error);
  }

  /** Ends the call without its answer. */
  private refuse(error: AnnalsError, answerBytes = this.outgoing.unsentBytes): void {
    // A call that may have changed the store has a small answer.
    const isSmall = answerBytes <= smallAnswerBytesMax;
    const mayHaveChanged = this.isAnswered && this.method.kind === "unary" && isSmall;
    const said = mayHaveChanged ? answerNotHeld() : error;
    const status = failed(this.environment, this.path, this, said);
    this.settle("failed");
    this.outgoing.refuse(status);
    this.told(status.code);
  }

  private settle(outcome: "done" | "failed"): void {
    this.isAnswered = true;
    this.admission?.leave(outcome);
    clearTimeout(this.deadline);
    this.incoming.close();
  }

  onSent(): void {
    this.outgoing.sent();
  }

  /** Tells who watches that the call has ended. */
  private told(code: StatusCode): void {
    const { receivedBytes: requestBytes } = this.incoming;
    const { sentBytes: answerBytes } = this.outgoing;
    if (this.beganMs === undefined) return;
    const ms = performance.now() - this.beganMs;
    this.beganMs = undefined;
    this.environment.observer?.ended(this, { code, ms, requestBytes, answerBytes });
  }

  onTick(nowMs: number, isUntaken: boolean): void {
    this.incoming.tick(nowMs);
    if (isUntaken) this.outgoing.untaken();
  }

  onReset(): void {
    this.told(StatusCode.CANCELLED);
    this.admission?.leave("cancelled");
    this.outgoing.close();
    this.end("CANCELLED");
    this.isAnswered = true;
    this.incoming.close();
  }

  /** A caller that may not call this method is refused before its request is read. */
  private admit(access: AccessControl): Admission | undefined {
    try {
      const admission = access.admit(this, this.method.requirement);
      admission.ready?.catch(this.fail);
      return admission;
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }

  /** A part of the request has arrived. A call with one message begins when it is complete. */
  private readonly arrived = (): void => {
    const { method, incoming } = this;
    if (method.kind === "client_streaming" || method.kind === "bidi_streaming") return;
    if (this.hasBegun || this.isAnswered) return;
    let request: Buffer | undefined;
    try {
      request = incoming.single();
    } catch (error) {
      return this.fail(error);
    }
    if (request === undefined) return;
    this.hasBegun = true;
    const isSmall = request.length <= smallBytesMax;
    const bytes = isSmall || !method.isDecoded ? 0 : request.length * decodedShare;
    this.begin(request, bytes);
  };

  /** `bytes` are held for the handler. */
  private begin(request: Buffer | Incoming, bytes = 0): void {
    const ready = this.admission?.ready;
    const { observer } = this.environment;
    const isPlain = ready === undefined && observer?.around === undefined;
    if (isPlain) return void this.answer(request, bytes);
    const work = (): Promise<void> => this.answer(request, bytes);
    const told = (): Promise<void> => observer?.around?.(this, work) ?? work();
    if (ready === undefined) void told();
    // A caller that may not call is answered by `admit`.
    else void ready.then(() => (this.isAnswered ? undefined : told()), this.fail);
  }

  /** Whatever the handler does, the call ends once, with an answer or a status. Never rejects. */
  private async answer(request: Buffer | Incoming, bytes: number): Promise<void> {
    const { method } = this;
    const run = method.run as (request: Buffer | Incoming, call: Call) => unknown;
    const isOneAnswer = method.kind === "unary" || method.kind === "client_streaming";
    try {
      if (bytes > 0) this.hold(bytes);
      if (isOneAnswer) {
        const said = await run(request, this);
        const answer = said instanceof Buffer ? said : method.encode(said);
        const ready = this.outgoing.ready([answer]);
        if (ready !== undefined) await ready;
        this.finish(undefined, answer);
      } else {
        const answers = run(request, this) as AsyncIterable<unknown>;
        // A stream may last long, and does not need the bytes of its decoded request.
        if (method.kind === "server_streaming") this.incoming.close();
        await this.outgoing.sendEach(answers, (said) => method.encode(said));
        this.finish();
      }
    } catch (error) {
      this.fail(error);
    }
    if (this.heldBytes > 0) this.release(this.heldBytes);
  }

  /** What was on its way cannot be sent any more. */
  private readonly lose = (error: unknown): void => {
    if (error instanceof AnnalsError) return this.revoke(error);
    const status = this.statusOf(error);
    this.end("CANCELLED");
    this.finish(status);
  };

  private readonly fail = (error: unknown): void => {
    // A handler whose call is over throws that reason, or something that no longer matters.
    if (this.aborted && !(error instanceof AnnalsError)) {
      const fields = { method: this.path, error };
      this.environment.logger.error("a handler failed at the end of its call", fields);
    }
    if (this.isAnswered) return;
    this.finish(this.statusOf(this.reason ?? error));
  };

  private statusOf(error: unknown): CallStatus {
    return failed(this.environment, this.path, this, error, this.method.statusOf);
  }

  private finish(status?: CallStatus, answer?: Bytes): void {
    if (this.isAnswered) return;
    this.settle(status === undefined ? "done" : "failed");
    try {
      this.outgoing.end(status, answer);
      this.told(status?.code ?? StatusCode.OK);
    } catch (error) {
      if (error instanceof AnnalsError) return this.refuse(error, answer?.length);
      const fields = { method: this.path, error };
      this.environment.logger.error("an answer could not be sent", fields);
      this.told(StatusCode.INTERNAL);
      this.stream.reset(errorCode.internal);
    }
  }

  /** Created on first use, because most calls never wait for anything. */
  get signal(): AbortSignal {
    this.controller ??= new AbortController();
    if (this.reason !== undefined) this.controller.abort(this.reason);
    return this.controller.signal;
  }

  get aborted(): boolean {
    return this.reason !== undefined;
  }

  /** Removing a listener is a linear search, so a call should have few. */
  addEventListener(_: "abort", listener: CancelListener): void {
    this.listeners.push(listener);
  }

  removeEventListener(_: "abort", listener: CancelListener): void {
    const at = this.listeners.lastIndexOf(listener);
    if (at === this.listeners.length - 1) this.listeners.pop();
    else if (at >= 0) this.listeners.splice(at, 1);
  }

  private end(reason: keyof EndWords): void {
    const words = this.isStream ? streamingWords : unaryWords;
    this.revoke(new AnnalsError({ reason }, words[reason]));
  }

  /** Ends the call early: its caller may not go on, or the call must release what it holds. */
  revoke(reason: AnnalsError): void {
    if (this.isAnswered || this.reason !== undefined) return;
    this.reason = reason;
    clearTimeout(this.deadline);
    this.controller?.abort(reason);
    for (const listener of this.listeners.splice(0)) listener.handleEvent();
    if (this.isAnswered) return;
    // A handler that lets go at it has said so by the end of the turn.
    if (this.method.kind !== "unary" || !this.hasBegun) setImmediate(this.fail, reason);
    else if (reason.reason !== "OVERLOADED") setImmediate(() => this.finish(maybeStored));
  }
}
