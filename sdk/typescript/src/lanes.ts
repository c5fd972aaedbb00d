// Lanes: puts of one client that are made at the same time travel on a few streams, instead of as a call
// each. A caller sees no difference: each put has its own outcome, deadline and attempts. The rules are
// those of the Rust client (`crates/client/src/lanes`):
//
// - Alone: a put that meets no other goes as a call. Nothing waits for company.
// - Together: puts that meet others have a lane opened, and go as calls until it is open. More puts open
//   more lanes, each on a connection of its own.
// - Room: a lane has room for so many puts and bytes. A put waits for room, within its deadline.
// - In doubt: a lane whose stream breaks, or brings an answer that cannot be matched, ends. Each put on
//   it that is not answered may have been done or not, and is sent again as a call.
// - Identity: a lane carries only puts with the token that it was opened with. It is replaced after a
//   while, and as soon as the token changes.

import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client as Rpc, Code, ConnectError } from "@connectrpc/connect";

import { errorOf, errorOfStatus, Unavailable, Unproven } from "./errors.js";
import {
  type PutRecordRequest,
  PutRecordRequestSchema,
  type PutRecordResponse,
  type Records,
  type StreamPutRequest,
  StreamPutRequestSchema,
  type StreamPutResponse,
} from "./gen/bailiwick/v1/records_pb.js";

/** Bounds of lanes. Times are milliseconds. Tests set some of them. */
export const LIMITS = {
  /** Puts on one lane: as many as a gateway works on at once. */
  calls: 1_024,
  /** Their bytes: half of what a gateway works on at once. */
  bytes: 8 << 20,
  /** Bytes of a put that may go on a lane. A larger one would hold up those behind it. */
  putBytes: 64 << 10,
  /** Those besides its body. A put that a gateway cannot read would end the lane of others. */
  besideBodyBytes: 16 << 10,
  /** Puts under way at which a lane is opened, and for each lane before there is another. */
  lanesFrom: 2,
  putsPerLane: 128,
  /** How long a lane is used before another takes its place, and stays open with nothing on it. */
  life: 120_000,
  idle: 10_000,
  /** In which time it must be open, and how often it is looked at. */
  open: 5_000,
  lookEvery: 1_000,
  /** The shortest time between two attempts to open the same lane, doubled after a failure; the longest. */
  openEvery: 500,
  openEveryMost: 60_000,
};

/** What a timer of Node.js can wait at the most. */
const TIMER_MOST = 2 ** 31 - 1;

/** The lane took no more puts before this one was read. It goes as a call. */
export class NotSent extends Error {}

/** A put on a lane, from when it waits for room until it is answered. */
export class Sent {
  /** The answer, or why there is none. */
  readonly answer: Promise<StreamPutResponse>;
  readonly until: number;
  /** The lane has ended without an answer to it: it is sent again as a call. */
  lost = false;
  /** Its caller waits no more. */
  settled = false;
  #resolve: (answer: StreamPutResponse) => void = () => {};
  #reject: (error: Error) => void = () => {};
  readonly #timer: NodeJS.Timeout;

  constructor(
    readonly put: PutRecordRequest,
    readonly size: number,
    timeoutMs: number,
    late: (sent: Sent) => void,
  ) {
    this.until = performance.now() + timeoutMs;
    this.answer = new Promise((resolve, reject) => {
      [this.#resolve, this.#reject] = [resolve, reject];
    });
    this.#timer = setTimeout(() => {
      const error = new ConnectError("the gateway did not answer in time", Code.DeadlineExceeded);
      this.fail(errorOf(error));
      late(this);
    }, Math.min(timeoutMs, TIMER_MOST));
  }

  give(answer: StreamPutResponse): void {
    this.#end();
    this.#resolve(answer);
  }

  fail(error: Error): void {
    this.#end();
    this.#reject(error);
  }

  #end(): void {
    this.settled = true;
    clearTimeout(this.#timer);
  }
}

/** One stream of puts. */
class Lane {
  /** What is sent and not answered, by its place in the stream, whether its caller still waits or not:
   * the gateway still works on it. No place is used twice, so a late answer cannot reach another put. */
  readonly #waiting = new Map<bigint, Sent>();
  /** What waits for room. */
  #pending: Sent[] = [];
  /** What goes on the stream next. */
  #outgoing: StreamPutRequest[] = [];
  #wake: () => void = () => {};
  #next = 0n;
  #bytes = 0;
  #closed = false;
  #last = performance.now();
  readonly #oldAt = this.#last + LIMITS.life;

  constructor(readonly bearer: string | undefined) {}

  /** Whether it takes puts with that token. */
  carries(bearer: string | undefined): boolean {
    return this.bearer === bearer && !this.#closed;
  }

  get old(): boolean {
    return performance.now() >= this.#oldAt;
  }

  /** Puts that it has room for. */
  get free(): number {
    return LIMITS.calls - this.#waiting.size - this.#pending.length;
  }

  put(put: PutRecordRequest, size: number, timeoutMs: number): Sent {
    const sent = new Sent(put, size, timeoutMs, (late) => this.#late(late));
    this.#pending.push(sent);
    this.#fill();
    return sent;
  }

  /** Sends what there is room for. */
  #fill(): void {
    for (let sent = this.#pending[0]; sent !== undefined; sent = this.#pending[0]) {
      const full = this.#waiting.size >= LIMITS.calls || this.#bytes + sent.size > LIMITS.bytes;
      if (full) return;
      this.#pending.shift();
      const left = Math.min(Math.ceil(sent.until - performance.now()), TIMER_MOST);
      const request = create(StreamPutRequestSchema, {
        write: { case: "put", value: sent.put },
        timeout: durationFromMs(Math.max(left, 1)),
      });
      this.#waiting.set(this.#next++, sent);
      this.#bytes += sent.size;
      this.#last = performance.now();
      this.#outgoing.push(request);
      this.#wake();
    }
  }

  /** What goes on the stream, until no more comes. */
  async *requests(): AsyncGenerator<StreamPutRequest, void> {
    for (;;) {
      const ready = this.#outgoing;
      this.#outgoing = [];
      yield* ready;
      if (this.#outgoing.length > 0) continue;
      if (this.#closed) return;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Hands an answer to the put that it is for. False: it is for none, or says nothing. Then no answer
   * of this stream can be believed. */
  answered(answer: StreamPutResponse): boolean {
    const sent = this.#waiting.get(answer.index);
    const ours = sent?.put.requestId === answer.requestId && answer.outcome.case !== undefined;
    if (sent === undefined || !ours) return false;
    this.#waiting.delete(answer.index);
    this.#bytes -= sent.size;
    this.#fill();
    sent.give(answer);
    return true;
  }

  /** A gateway answers each put in its time. A lane on which one was not answered may be stuck. */
  #late(sent: Sent): void {
    const waits = this.#pending.indexOf(sent);
    if (waits >= 0) this.#pending.splice(waits, 1);
    else this.retire();
  }

  /** Takes no more puts. Those that are sent are still answered. */
  retire(): void {
    this.#closed = true;
    this.#wake();
    const pending = this.#pending;
    this.#pending = [];
    for (const sent of pending) sent.fail(new NotSent());
  }

  /** Whether the stream can end: no more comes, and no caller waits. One that was idle for long takes
   * no more. */
  isDone(): boolean {
    const idle = performance.now() - this.#last >= LIMITS.idle;
    if (this.#waiting.size + this.#pending.length === 0 && idle) this.retire();
    return this.#closed && [...this.#waiting.values()].every(({ settled }) => settled);
  }

  /** The stream has ended. */
  end(cause: unknown): void {
    this.retire();
    for (const sent of this.#waiting.values()) {
      if (sent.settled) continue;
      sent.lost = true;
      sent.fail(lost(cause));
    }
    this.#waiting.clear();
  }
}

/** What the end of a stream says of a put that is not answered. A refusal counts if it is about the caller
 * or the gateway, which answers all that it has read first; of another, it is not known whose put it is
 * about. */
function lost(cause: unknown): Error {
  const error = cause === undefined ? undefined : errorOf(cause);
  // A call says it of this put, with the token of now.
  if (error?.reason === "IDENTITY_INVALID") return new NotSent();
  if (error?.reason !== undefined && error.retryAfterMs !== undefined) return error;
  const what = "the stream that carried the write ended before the write was answered";
  const help = "send the same request again with the same request_id";
  const reason = "WRITE_OUTCOME_UNKNOWN";
  return new Unavailable(what, Code.Unavailable, reason, help, undefined, {}, 0);
}

/** What became of a put on a lane. Throws the error that it would have had as a call. */
export function outcomeOf({ outcome }: StreamPutResponse): PutRecordResponse {
  if (outcome.case === "done") return outcome.value;
  if (outcome.case === "error") throw errorOfStatus(outcome.value);
  throw new Unproven("the answer to a put is that of another write");
}

/** A connection for lanes alone. */
export interface Connection {
  readonly records: Rpc<typeof Records>;
  /** Lanes on it that have not ended: a new one may be open before the last one is left. */
  streams: number;
  close(): void;
}

/** One lane, open or not. */
interface Slot {
  lane: Lane | undefined;
  opening: boolean;
  /** Kept while lanes open on it. */
  connection: Connection | undefined;
  /** When the next may be opened, and how long to wait after that one if it fails. */
  next: number;
  wait: number;
}

/** The lanes of one client. None is open yet. */
export class Lanes {
  readonly #slots: Slot[];
  readonly #connect: () => Connection;
  #underWay = 0;
  #ended = false;

  constructor(count: number, connect: () => Connection) {
    this.#connect = connect;
    this.#slots = Array.from({ length: count }, () => ({
      lane: undefined, opening: false, connection: undefined, next: 0, wait: LIMITS.openEvery,
    }));
  }

  /** Whether there can be any. */
  get any(): boolean {
    return this.#slots.length > 0 && !this.#ended;
  }

  /** How many are open. */
  get open(): number {
    return this.#slots.filter(({ lane }) => lane?.carries(lane.bearer)).length;
  }

  /** Counts a put while it is under way, on a lane or as a call. */
  async underWay<A>(put: () => Promise<A>): Promise<A> {
    this.#underWay++;
    try {
      return await put();
    } finally {
      this.#underWay--;
    }
  }

  /** Puts on the lane that has the most room. Undefined: it goes as a call. */
  put(put: PutRecordRequest, timeoutMs: number, bearer: string | undefined): Sent | undefined {
    if (!this.any) return undefined;
    const beside = toBinary(PutRecordRequestSchema, { ...put, body: new Uint8Array() }).length;
    const size = beside + put.body.length;
    if (size > LIMITS.putBytes || beside > LIMITS.besideBodyBytes) return undefined;
    const wanted = Math.ceil(this.#underWay / LIMITS.putsPerLane);
    let best: Lane | undefined;
    for (const slot of this.#slots.slice(0, wanted)) {
      const lane = this.#lane(slot, bearer);
      if (lane !== undefined && lane.free > (best?.free ?? -Infinity)) best = lane;
    }
    return best?.put(put, size, timeoutMs);
  }

  /** Ends the lanes. What is on them is still answered; a later put goes as a call. */
  close(): void {
    this.#ended = true;
    for (const { lane, connection } of this.#slots) {
      lane?.retire();
      if (connection?.streams === 0) connection.close();
    }
  }

  /** The lane of a slot, if it is open for puts with that token. Has one opened where it is worth it. */
  #lane(slot: Slot, bearer: string | undefined): Lane | undefined {
    if (slot.lane?.carries(bearer) === false) {
      slot.lane.retire();
      slot.lane = undefined;
    }
    // The next one is open before the last one is left.
    const wanted = slot.lane?.old ?? this.#underWay >= LIMITS.lanesFrom;
    const now = performance.now();
    if (wanted && !slot.opening && now >= slot.next) {
      [slot.opening, slot.next] = [true, now + slot.wait];
      void this.#run(slot, bearer);
    }
    return slot.lane;
  }

  /** Opens a lane, and hands its answers out until it ends. */
  async #run(slot: Slot, bearer: string | undefined): Promise<void> {
    const [lane, stop] = [new Lane(bearer), new AbortController()];
    const patience = setTimeout(() => stop.abort(), LIMITS.open);
    const look = setInterval(() => lane.isDone() && stop.abort(), LIMITS.lookEvery).unref();
    let [opened, failed]: [boolean, unknown] = [false, undefined];
    const connection = (slot.connection ??= this.#connect());
    connection.streams++;
    try {
      const answers = connection.records.streamPut(lane.requests(), {
        headers: bearer === undefined ? {} : { authorization: bearer },
        signal: stop.signal,
        onHeader: () => {
          clearTimeout(patience);
          opened = true;
          this.#opened(slot, lane);
        },
      });
      for await (const answer of answers) if (!lane.answered(answer)) break;
    } catch (cause) {
      failed = cause;
    }
    clearTimeout(patience);
    clearInterval(look);
    lane.end(failed);
    stop.abort();
    if (!opened) {
      // No lane opens on this connection: it is not used again.
      const wait = Math.min(slot.wait * 2, LIMITS.openEveryMost);
      [slot.opening, slot.wait, slot.connection] = [false, wait, undefined];
    }
    connection.streams--;
    const unused = this.#ended || slot.connection !== connection;
    if (connection.streams === 0 && unused) connection.close();
  }

  #opened(slot: Slot, lane: Lane): void {
    [slot.opening, slot.wait] = [false, LIMITS.openEvery];
    slot.lane?.retire();
    slot.lane = lane;
    if (this.#ended) lane.retire();
  }
}
