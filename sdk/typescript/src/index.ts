/**
 * The TypeScript client of Bailiwick, for Node.js: it puts, reads, lists and deletes records through
 * a gateway, with retries and typed errors. The messages are generated from the protos.
 */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client as Rpc, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BailiwickError, errorOf } from "./errors.js";
import { AttachmentTransfers, type Uploadable } from "./attachments.js";
import { Attachments } from "./gen/bailiwick/v1/attachments_pb.js";
import {
  type Evidence,
  EvidenceKind,
  type EvidenceSchema,
  type Ruling,
} from "./gen/bailiwick/v1/jurisdiction_pb.js";
import {
  type BatchGetResult,
  type BatchPutResult,
  type CountRecordsRequestSchema,
  type CountRecordsResponse,
  type DeleteRecordRequestSchema,
  type DeleteRecordResponse,
  type GetRecordRequestSchema,
  type ListRecordsRequestSchema,
  type PutRecordRequestSchema,
  type PutRecordResponse,
  type Record as StoredRecord,
  Records,
  type TouchRecordRequestSchema,
  type TouchRecordResponse,
} from "./gen/bailiwick/v1/records_pb.js";
import {
  type CreateSubjectRequestSchema,
  type CreateSubjectResponse,
  Subjects,
} from "./gen/bailiwick/v1/subjects_pb.js";

export * from "./errors.js";
export * as attachments from "./gen/bailiwick/v1/attachments_pb.js";
export * as jurisdiction from "./gen/bailiwick/v1/jurisdiction_pb.js";
export * as records from "./gen/bailiwick/v1/records_pb.js";
export * as subjects from "./gen/bailiwick/v1/subjects_pb.js";
export type { Uploadable };

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

/** What a caller gives of a message: `requestId` is drawn unless it is given. */
type PutInit = MessageInitShape<typeof PutRecordRequestSchema>;
type DeleteInit = MessageInitShape<typeof DeleteRecordRequestSchema>;
type TouchInit = MessageInitShape<typeof TouchRecordRequestSchema>;
type CreateInit = MessageInitShape<typeof CreateSubjectRequestSchema>;

/** A caller's client. It keeps its connection. */
export class Client {
  /** The services as they are generated, without retries and with ConnectError. */
  readonly raw: {
    records: Rpc<typeof Records>;
    subjects: Rpc<typeof Subjects>;
    attachments: Rpc<typeof Attachments>;
  };
  /** Uploads and downloads. */
  readonly attachments: AttachmentTransfers;
  readonly #deadlineMs: number;
  readonly #attempts: number;

  constructor(gateway: string, options: Options = {}) {
    const { authorities, certificate, key } = options.tls ?? {};
    const transport = createGrpcTransport({
      baseUrl: gateway,
      interceptors: [authorization(options.token)],
      nodeOptions: {
        ...(authorities !== undefined && { ca: authorities }),
        ...(certificate !== undefined && { cert: certificate }),
        ...(key !== undefined && { key }),
      },
    });
    this.raw = {
      records: createClient(Records, transport),
      subjects: createClient(Subjects, transport),
      attachments: createClient(Attachments, transport),
    };
    this.attachments = new AttachmentTransfers(this.raw.attachments);
    this.#deadlineMs = options.deadlineMs ?? 10_000;
    this.#attempts = options.attempts ?? 5;
  }

  /** Stores a record. A retry after a failure needs the same `requestId`: draw it before. */
  put(request: PutInit): Promise<PutRecordResponse> {
    const { records } = this.raw;
    return this.#call(identified(request), (message, call) => records.put(message, call));
  }

  get(request: MessageInitShape<typeof GetRecordRequestSchema>): Promise<StoredRecord> {
    return this.#call(request, (message, call) => this.raw.records.get(message, call));
  }

  delete(request: DeleteInit): Promise<DeleteRecordResponse> {
    const { records } = this.raw;
    return this.#call(identified(request), (message, call) => records.delete(message, call));
  }

  /** Sets when a record expires. */
  touch(request: TouchInit): Promise<TouchRecordResponse> {
    const { records } = this.raw;
    return this.#call(identified(request), (message, call) => records.touch(message, call));
  }

  /** All records of a list, page after page. */
  async *list(
    request: MessageInitShape<typeof ListRecordsRequestSchema>,
  ): AsyncGenerator<StoredRecord, void> {
    let pageToken = request.pageToken ?? "";
    do {
      const page = await this.#call({ ...request, pageToken }, (message, call) =>
        this.raw.records.list(message, call),
      );
      yield* page.records;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  count(request: MessageInitShape<typeof CountRecordsRequestSchema>): Promise<CountRecordsResponse> {
    return this.#call(request, (message, call) => this.raw.records.count(message, call));
  }

  /** Stores up to 1,000 records. Each has a result of its own, in the order of the requests. */
  async batchPut(requests: PutInit[], atomic = false): Promise<BatchPutResult[]> {
    const message = { requests: requests.map(identified), atomic };
    const answer = await this.#call(message, (message, call) =>
      this.raw.records.batchPut(message, call),
    );
    return answer.results;
  }

  /** Reads up to 1,000 records. */
  async batchGet(
    requests: MessageInitShape<typeof GetRecordRequestSchema>[],
  ): Promise<BatchGetResult[]> {
    const answer = await this.#call({ requests }, (message, call) =>
      this.raw.records.batchGet(message, call),
    );
    return answer.results;
  }

  createSubject(request: CreateInit): Promise<CreateSubjectResponse> {
    const { subjects } = this.raw;
    return this.#call(identified(request), (message, call) => subjects.create(message, call));
  }

  /** Asks where a record would go, and why. Nothing is stored. */
  resolve(
    collection: string,
    evidence: MessageInitShape<typeof EvidenceSchema>[],
  ): Promise<Ruling> {
    return this.#call({ collection, evidence }, (message, call) =>
      this.raw.subjects.resolvePlacement(message, call),
    );
  }

  /** Makes a call until it is answered, as often and as long as the options allow. */
  async #call<M, A>(
    message: M,
    call: (message: M, options: { timeoutMs: number }) => Promise<A>,
  ): Promise<A> {
    const until = Date.now() + this.#deadlineMs;
    for (let attempt = 1; ; attempt++) {
      const left = until - Date.now();
      try {
        return await call(message, { timeoutMs: Math.max(left, 1) });
      } catch (cause) {
        const error = cause instanceof BailiwickError ? cause : errorOf(cause);
        const backoff = Math.random() * Math.min(50 * 2 ** attempt, 2_000);
        const wait = error.retryAfterMs === undefined ? undefined : error.retryAfterMs + backoff;
        if (wait === undefined || attempt >= this.#attempts || Date.now() + wait >= until) {
          throw error;
        }
        await sleep(wait);
      }
    }
  }
}

function identified<M extends { requestId?: string }>(request: M): M {
  return { ...request, requestId: request.requestId ?? randomUUID() };
}

function authorization(token: Options["token"]): Interceptor {
  return (next) => async (request) => {
    const current = typeof token === "function" ? await token() : token;
    if (current !== undefined) request.header.set("authorization", `Bearer ${current}`);
    return next(request);
  };
}

export type { Evidence, Ruling, StoredRecord };
