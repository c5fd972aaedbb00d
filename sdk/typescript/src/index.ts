/**
 * The TypeScript client of Bailiwick, for Node.js: it puts, reads, lists and deletes records through
 * a gateway, with retries and typed errors. The answer to each write is checked with its receipt
 * against the request. The messages are generated from the protos.
 */

import { setTimeout as sleep } from "node:timers/promises";

import { clone, create, isMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client as Rpc, Code, createClient, type Interceptor } from "@connectrpc/connect";
import {
  createGrpcTransport,
  type GrpcTransportOptions,
  Http2SessionManager,
} from "@connectrpc/connect-node";

import { AttachmentTransfers, type Uploadable } from "./attachments.js";
import { Batch } from "./batch.js";
import {
  checkCreate,
  checkDelete,
  checkPatch,
  checkPut,
  checkTouch,
  type Written,
} from "./checks.js";
import { BailiwickError, errorOf, errorOfStatus } from "./errors.js";
import { Attachments } from "./gen/bailiwick/v1/attachments_pb.js";
import {
  type Evidence,
  EvidenceKind,
  type EvidenceSchema,
  type Ruling,
} from "./gen/bailiwick/v1/jurisdiction_pb.js";
import { Operations } from "./gen/bailiwick/v1/operations_pb.js";
import {
  type CountRecordsRequestSchema,
  type CountRecordsResponse,
  DeleteRecordRequestSchema,
  type DeleteRecordResponse,
  GetRecordRequestSchema,
  type ListRecordsRequestSchema,
  PatchRecordRequestSchema,
  type PatchRecordResponse,
  type PutRecordRequest,
  PutRecordRequestSchema,
  type PutRecordResponse,
  type Record as StoredRecord,
  Records,
  type ScanRecordsRequestSchema,
  TouchRecordRequestSchema,
  type TouchRecordResponse,
  type WatchRecordsRequestSchema,
  type WatchRecordsResponse,
} from "./gen/bailiwick/v1/records_pb.js";
import {
  CreateSubjectRequestSchema,
  type CreateSubjectResponse,
  Subjects,
} from "./gen/bailiwick/v1/subjects_pb.js";

import { type Connection, Lanes, NotSent, outcomeOf } from "./lanes.js";
import type { Known } from "./receipts.js";
import { backoffMs, RecordList, RecordScan, watch } from "./streams.js";
import { type Attempts, identified, SubjectCalls } from "./subjects.js";

export * from "./errors.js";
export * as attachments from "./gen/bailiwick/v1/attachments_pb.js";
export * as ledger from "./gen/bailiwick/v1/ledger_pb.js";
export * as jurisdiction from "./gen/bailiwick/v1/jurisdiction_pb.js";
export * as operations from "./gen/bailiwick/v1/operations_pb.js";
export * as records from "./gen/bailiwick/v1/records_pb.js";
export * as subjects from "./gen/bailiwick/v1/subjects_pb.js";
export { type Checkpoint, type Entry, verifyReceipt } from "./receipts.js";
export { RecordList, RecordScan, SubjectCalls };
export type { Uploadable, Written };

/** How a gateway is reached, and how long and how often to try. */
export interface Options {
  /** A bearer token, or what gives one for each attempt. */
  token?: string | (() => string | Promise<string>);
  /** Authorities of the gateway's certificate, and a certificate of one's own, as PEM. */
  tls?: { authorities?: string; certificate?: string; key?: string };
  /** Milliseconds for a call, all attempts and waits included. */
  deadlineMs?: number;
  /** Attempts at the most, the first included. */
  attempts?: number;
  /** The tenant whose writes these are: a receipt that names another one is refused. */
  tenant?: string;
  /**
   * Streams at the most on which puts travel that are made at the same time, each on a connection of its
   * own. 0, unless set: each put is a call. A client that has lanes needs {@link Client.close}.
   */
  lanes?: number;
  /** The regions to which a call about one record goes on, once, when its subject has moved there. */
  homes?: readonly string[];
}

/** Evidence kinds by their names in docs/concepts.md. */
const KINDS = {
  citizenship: EvidenceKind.CITIZENSHIP,
  document: EvidenceKind.DOCUMENT,
  residence: EvidenceKind.RESIDENCE,
  collected_in: EvidenceKind.COLLECTED_IN,
  ip: EvidenceKind.IP,
  phone: EvidenceKind.PHONE,
  sim: EvidenceKind.SIM,
} as const;

/** A piece of evidence, such as `evidence("residence", "DE")`. */
export function evidence(
  kind: keyof typeof KINDS,
  value: string,
): MessageInitShape<typeof EvidenceSchema> {
  return { kind: KINDS[kind], value };
}

/** Bytes of the largest request that a gateway takes. */
const REQUEST_BYTES_MAX = 34 << 20;

/** What a caller gives of a message: `requestId` is drawn unless it is given. */
type PutInit = MessageInitShape<typeof PutRecordRequestSchema>;
type DeleteInit = MessageInitShape<typeof DeleteRecordRequestSchema>;
type PatchInit = MessageInitShape<typeof PatchRecordRequestSchema>;
type TouchInit = MessageInitShape<typeof TouchRecordRequestSchema>;
type CreateInit = MessageInitShape<typeof CreateSubjectRequestSchema>;

/** A caller's client. It keeps its connection. */
export class Client {
  /** The services as they are generated, without retries and with ConnectError. */
  readonly raw: {
    records: Rpc<typeof Records>;
    subjects: Rpc<typeof Subjects>;
    operations: Rpc<typeof Operations>;
    attachments: Rpc<typeof Attachments>;
  };
  /** Uploads and downloads. */
  readonly attachments: AttachmentTransfers;
  /** Subjects as a whole, and their moves. */
  readonly subjects: SubjectCalls;
  readonly #deadlineMs: number;
  readonly #attempts: number;
  readonly #tenant: string | undefined;
  readonly #token: Options["token"];
  readonly #lanes: Lanes;
  readonly #homes: readonly string[];

  /** Throws a TypeError for an address that is plaintext to another machine, or none. */
  constructor(gateway: string, options: Options = {}) {
    checkAddress(gateway);
    const { authorities, certificate, key } = options.tls ?? {};
    const nodeOptions = {
      ...(authorities !== undefined && { ca: authorities }),
      ...(certificate !== undefined && { cert: certificate }),
      ...(key !== undefined && { key }),
    };
    const transport = createGrpcTransport({
      baseUrl: gateway,
      writeMaxBytes: REQUEST_BYTES_MAX,
      interceptors: [authorization(options.token)],
      nodeOptions,
    });
    this.raw = {
      records: createClient(Records, transport),
      subjects: createClient(Subjects, transport),
      operations: createClient(Operations, transport),
      attachments: createClient(Attachments, transport),
    };
    this.#tenant = options.tenant;
    this.#homes = options.homes ?? [];
    const attempts: Attempts = (message, call) => this.#call(message, call);
    const { attachments, subjects, operations } = this.raw;
    this.subjects = new SubjectCalls(subjects, operations, attempts, options.tenant);
    this.#deadlineMs = options.deadlineMs ?? 10_000;
    const { tenant } = options;
    this.attachments = new AttachmentTransfers(attachments, tenant, attempts, this.#deadlineMs);
    this.#attempts = options.attempts ?? 5;
    this.#token = options.token;
    this.#lanes = new Lanes(options.lanes ?? 0, () => connection(gateway, nodeOptions));
  }

  /** How many lanes take puts now. */
  get openLanes(): number {
    return this.#lanes.open;
  }

  /**
   * Ends the lanes: what is on them is still answered, and later puts go as calls. Without it, a process
   * ends only when its lanes have been idle for ten seconds.
   */
  close(): void {
    this.#lanes.close();
  }

  /**
   * Stores a record, and checks the answer and its receipt. A retry after a failure needs the same
   * `requestId`: draw it before. With `lanes`, puts that are made at the same time travel on a few streams.
   */
  async put(request: PutInit): Promise<Written<PutRecordResponse>> {
    const { message, drawn } = identified(PutRecordRequestSchema, request);
    const [answer, once] = await this.#lanes.underWay(() => this.#put(message));
    return checkPut(message, answer, this.#known(once && drawn));
  }

  /** A put, on a lane with others or as a call. */
  #put(message: PutRecordRequest): Promise<[PutRecordResponse, boolean]> {
    let alone = false;
    return this.#call(message, async (message, { timeoutMs }) => {
      if (alone || !this.#lanes.any) return this.raw.records.put(message, { timeoutMs });
      const until = Date.now() + timeoutMs;
      const left = (): number => Math.max(until - Date.now(), 1);
      const sent = this.#lanes.put(message, left(), await bearer(this.#token));
      if (sent !== undefined) {
        try {
          return outcomeOf(await sent.answer);
        } catch (cause) {
          alone = sent.lost;
          if (!(cause instanceof NotSent)) throw cause;
        }
      }
      return this.raw.records.put(message, { timeoutMs: left() });
    });
  }

  async get(request: MessageInitShape<typeof GetRecordRequestSchema>): Promise<StoredRecord> {
    const message = clone(GetRecordRequestSchema, create(GetRecordRequestSchema, request));
    return this.#ask(message, (message, call) => this.raw.records.get(message, call));
  }

  /** Deletes a record, and checks the answer and its receipt. */
  async delete(request: DeleteInit): Promise<Written<DeleteRecordResponse>> {
    const { message, drawn } = identified(DeleteRecordRequestSchema, request);
    const [answer, once] = await this.#call(message, (message, call) =>
      this.raw.records.delete(message, call),
    );
    return checkDelete(message, answer, this.#known(once && drawn));
  }

  /** Sets when a record expires, and checks the answer and its receipt. */
  async touch(request: TouchInit): Promise<Written<TouchRecordResponse>> {
    const { message, drawn } = identified(TouchRecordRequestSchema, request);
    const [answer, once] = await this.#call(message, (message, call) =>
      this.raw.records.touch(message, call),
    );
    return checkTouch(message, answer, this.#known(once && drawn));
  }

  /** Changes the body of a record or some of its attributes, and checks the answer and its receipt. */
  async patch(request: PatchInit): Promise<Written<PatchRecordResponse>> {
    const { message, drawn } = identified(PatchRecordRequestSchema, request);
    const [answer, once] = await this.#call(message, (message, call) =>
      this.raw.records.patch(message, call),
    );
    return checkPatch(message, answer, this.#known(once && drawn));
  }

  /** All records of a list, page after page, and what the list lacks. */
  list(request: MessageInitShape<typeof ListRecordsRequestSchema>): RecordList {
    return new RecordList((pageToken) =>
      this.#ask({ ...request, ...(pageToken !== undefined && { pageToken }) }, (message, call) =>
        this.raw.records.list(message, call),
      ),
    );
  }

  /** All records of a collection in one region. One that breaks is not begun again by itself. */
  scan(request: MessageInitShape<typeof ScanRecordsRequestSchema>): RecordScan {
    return new RecordScan(() => this.raw.records.scan(request));
  }

  /** What changes in a collection, without an end: where the stream breaks it goes on with the cursor. */
  watch(
    request: MessageInitShape<typeof WatchRecordsRequestSchema>,
  ): AsyncGenerator<WatchRecordsResponse, void> {
    return watch(this.raw.records, request, this.#attempts);
  }

  count(request: MessageInitShape<typeof CountRecordsRequestSchema>): Promise<CountRecordsResponse> {
    return this.#ask(request, (message, call) => this.raw.records.count(message, call));
  }

  /**
   * Stores up to 1,000 records, and checks each answer and its receipt. Each has an outcome of its own,
   * in the order of the requests; what may succeed later is sent again. `atomic`: all of one subject in one
   * commit, or none.
   */
  batchPut(
    requests: PutInit[],
    atomic = false,
  ): Promise<(Written<PutRecordResponse> | BailiwickError)[]> {
    return this.#batch(
      requests.map((request) => identified(PutRecordRequestSchema, request)),
      (messages, call) => this.raw.records.batchPut({ requests: messages, atomic }, call),
      ({ outcome }, message, known) => {
        if (outcome.case === "error") return errorOfStatus(outcome.value);
        return outcome.case === "done" ? checkPut(message, outcome.value, known) : undefined;
      },
    );
  }

  /** Deletes up to 1,000 records, as {@link batchPut} stores them. */
  batchDelete(
    requests: DeleteInit[],
  ): Promise<(Written<DeleteRecordResponse> | BailiwickError)[]> {
    return this.#batch(
      requests.map((request) => identified(DeleteRecordRequestSchema, request)),
      (messages, call) => this.raw.records.batchDelete({ requests: messages }, call),
      ({ outcome }, message, known) => {
        if (outcome.case === "error") return errorOfStatus(outcome.value);
        return outcome.case === "done" ? checkDelete(message, outcome.value, known) : undefined;
      },
    );
  }

  /** Reads up to 1,000 records: each, or why there is none, in the order of the requests. */
  batchGet(
    requests: MessageInitShape<typeof GetRecordRequestSchema>[],
  ): Promise<(StoredRecord | BailiwickError)[]> {
    return this.#batch(
      requests.map((request) => {
        return { message: create(GetRecordRequestSchema, request), drawn: false };
      }),
      (messages, call) => this.raw.records.batchGet({ requests: messages }, call),
      ({ outcome }) => {
        if (outcome.case === "error") return errorOfStatus(outcome.value);
        return outcome.case === "record" ? outcome.value : undefined;
      },
    );
  }

  /** Sends a batch, and again what may succeed later. */
  async #batch<M, R, T>(
    all: { message: M; drawn: boolean }[],
    send: (messages: M[], options: { timeoutMs: number }) => Promise<{ results: R[] }>,
    read: (result: R, message: M, known: Known) => T | BailiwickError | undefined,
  ): Promise<(T | BailiwickError)[]> {
    const batch = new Batch<M, R, T>(all, read, (first) => this.#known(first));
    const until = Date.now() + this.#deadlineMs;
    for (let attempt = 1; ; attempt++) {
      let worst: BailiwickError | undefined;
      try {
        const [answer, once] = await this.#call(batch.pending(), send);
        worst = batch.answered(answer.results, once && attempt === 1);
      } catch (cause) {
        if (attempt === 1 || !(cause instanceof BailiwickError)) throw cause;
        return batch.failed(cause);
      }
      const wait = worst === undefined ? undefined : this.#pause(worst, attempt, until);
      if (wait === undefined) return batch.ends;
      await sleep(wait);
    }
  }

  /** Creates a subject, and checks the answer and its receipt. */
  async createSubject(request: CreateInit): Promise<Written<CreateSubjectResponse>> {
    const { message, drawn } = identified(CreateSubjectRequestSchema, request);
    const [answer, once] = await this.#call(message, (message, call) =>
      this.raw.subjects.create(message, call),
    );
    return checkCreate(message, answer, this.#known(once && drawn));
  }

  /** Asks where a record would go, and why. Nothing is stored. */
  resolve(
    collection: string,
    evidence: MessageInitShape<typeof EvidenceSchema>[],
  ): Promise<Ruling> {
    return this.#ask({ collection, evidence }, (message, call) =>
      this.raw.subjects.resolvePlacement(message, call),
    );
  }

  #known(first: boolean): Known {
    return { tenant: this.#tenant, first };
  }

  /** A call that changes nothing. */
  async #ask<M, A>(
    message: M,
    call: (message: M, options: { timeoutMs: number }) => Promise<A>,
  ): Promise<A> {
    const [answer] = await this.#call(message, call);
    return answer;
  }

  /**
   * Makes a call until it is answered, as often and as long as the options allow. Says with the answer
   * whether no attempt before it may have had an effect.
   */
  async #call<M, A>(
    message: M,
    call: (message: M, options: { timeoutMs: number }) => Promise<A>,
  ): Promise<[A, boolean]> {
    const until = Date.now() + this.#deadlineMs;
    let [followed, renewed] = [false, false];
    for (let attempt = 1; ; attempt++) {
      const left = until - Date.now();
      const token = await bearer(this.#token);
      try {
        return [await call(message, { timeoutMs: Math.max(left, 1) }), attempt === 1];
      } catch (cause) {
        const error = cause instanceof BailiwickError ? cause : errorOf(cause);
        if (!followed && this.#follow(error, message)) {
          followed = true;
          // Nothing was done where it was asked first.
          attempt--;
          continue;
        }
        if (!renewed && error.code === Code.Unauthenticated) {
          renewed = true;
          // The token ran out on its way, and there is a new one: once.
          if ((await bearer(this.#token)) !== token) {
            attempt--;
            continue;
          }
        }
        const wait = this.#pause(error, attempt, until);
        if (wait === undefined) throw error;
        await sleep(wait);
      }
    }
  }

  /** How long to wait before the next attempt. Undefined: there is none. */
  #pause(error: BailiwickError, attempt: number, until: number): number | undefined {
    if (error.retryAfterMs === undefined || attempt >= this.#attempts) return undefined;
    const wait = error.retryAfterMs + backoffMs(attempt);
    return Date.now() + wait >= until ? undefined : wait;
  }

  /** Turns a message about one record to the region to which its subject has moved, if it is listed. */
  #follow(error: BailiwickError, message: unknown): boolean {
    const region = error.metadata.region ?? "";
    if (error.reason !== "SUBJECT_MOVED" || !this.#homes.includes(region)) return false;
    const ofOne =
      isMessage(message, PutRecordRequestSchema) ||
      isMessage(message, GetRecordRequestSchema) ||
      isMessage(message, PatchRecordRequestSchema) ||
      isMessage(message, TouchRecordRequestSchema) ||
      isMessage(message, DeleteRecordRequestSchema);
    if (!ofOne || ("sealedKey" in message && message.sealedKey !== "")) return false;
    if (message.subject === undefined || message.subject.domicile === region) return false;
    message.subject.domicile = region;
    return true;
  }
}

/** What was sent in plaintext to another machine cannot be recalled. */
function checkAddress(gateway: string): void {
  const { protocol, hostname } = new URL(gateway);
  const loopback = /^(localhost|127(\.[0-9]+){3}|\[::1\])$/.test(hostname);
  if (protocol === "https:" || (protocol === "http:" && loopback)) return;
  const use = "use https://, or http:// on loopback";
  throw new TypeError(`the gateway's address is plaintext to another machine: ${use}`);
}

async function bearer(token: Options["token"]): Promise<string | undefined> {
  const current = typeof token === "function" ? await token() : token;
  return current === undefined ? undefined : `Bearer ${current}`;
}

function authorization(token: Options["token"]): Interceptor {
  return (next) => async (request) => {
    const current = await bearer(token);
    if (current !== undefined) request.header.set("authorization", current);
    return next(request);
  };
}

/** A connection of its own, for lanes. */
function connection(
  gateway: string,
  nodeOptions: NonNullable<GrpcTransportOptions["nodeOptions"]>,
): Connection {
  const sessionManager = new Http2SessionManager(gateway, {}, nodeOptions);
  const transport = createGrpcTransport({ baseUrl: gateway, sessionManager });
  return { records: createClient(Records, transport), streams: 0, close: () => sessionManager.abort() };
}

export type { Evidence, Ruling, StoredRecord };
