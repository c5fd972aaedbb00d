// Subjects as a whole, and their moves. What changes a subject is answered with a receipt, which is
// checked against the request.

import { randomUUID } from "node:crypto";

import {
  clone,
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Client as Rpc } from "@connectrpc/connect";

import { checkSubject, type Changed, type SubjectRequest, type Written } from "./checks.js";
import { errorOf, Unavailable } from "./errors.js";
import type {
  CancelOperationRequestSchema,
  GetOperationRequestSchema,
  ListOperationsRequestSchema,
  ListOperationsResponse,
  Operation,
  Operations,
} from "./gen/bailiwick/v1/operations_pb.js";
import type { Record as StoredRecord } from "./gen/bailiwick/v1/records_pb.js";
import {
  AdjudicateSubjectRequestSchema,
  type AdjudicateSubjectResponse,
  BlockSubjectRequestSchema,
  type BlockSubjectResponse,
  EraseSubjectRequestSchema,
  type EraseSubjectResponse,
  type ExportSubjectRequestSchema,
  type GetSubjectRequestSchema,
  type LocateSubjectRequestSchema,
  type LocateSubjectResponse,
  ReassessSubjectRequestSchema,
  type ReassessSubjectResponse,
  RelocateSubjectRequestSchema,
  RotateSubjectKeyRequestSchema,
  type RotateSubjectKeyResponse,
  type Subject,
  type Subjects,
  UnblockSubjectRequestSchema,
  type UnblockSubjectResponse,
} from "./gen/bailiwick/v1/subjects_pb.js";

/** Makes a call as often as the client's options allow, and says whether it was made once. */
export type Attempts = <M, A>(
  message: M,
  call: (message: M, options: { timeoutMs: number }) => Promise<A>,
) => Promise<[A, boolean]>;

/** Calls about subjects as a whole. What is written is `requestId`d here unless the caller has given one. */
export class SubjectCalls {
  readonly #subjects: Rpc<typeof Subjects>;
  readonly #operations: Rpc<typeof Operations>;
  readonly #attempts: Attempts;
  readonly #tenant: string | undefined;

  constructor(
    subjects: Rpc<typeof Subjects>,
    operations: Rpc<typeof Operations>,
    attempts: Attempts,
    tenant: string | undefined,
  ) {
    this.#subjects = subjects;
    this.#operations = operations;
    this.#attempts = attempts;
    this.#tenant = tenant;
  }

  /** What a region holds of a subject, without its records. */
  get(request: MessageInitShape<typeof GetSubjectRequestSchema>): Promise<Subject> {
    return this.#ask(request, (message, call) => this.#subjects.get(message, call));
  }

  /** Finds the regions that hold a subject. An answer that is not `complete` may lack some. */
  locate(
    request: MessageInitShape<typeof LocateSubjectRequestSchema>,
  ): Promise<LocateSubjectResponse> {
    return this.#ask(request, (message, call) => this.#subjects.locate(message, call));
  }

  /** Makes the rulings of a subject again, with the evidence in the place of what is known. */
  reassess(
    request: MessageInitShape<typeof ReassessSubjectRequestSchema>,
  ): Promise<Written<ReassessSubjectResponse>> {
    const message = create(ReassessSubjectRequestSchema, request);
    return this.#change(message, "REASSESS", (sent, call) => this.#subjects.reassess(sent, call));
  }

  /** Proposes the region of a subject where the rules leave a choice. */
  adjudicate(
    request: MessageInitShape<typeof AdjudicateSubjectRequestSchema>,
  ): Promise<Written<AdjudicateSubjectResponse>> {
    const { message } = identified(AdjudicateSubjectRequestSchema, request);
    return this.#change(message, "ADJUDICATE", (sent, call) =>
      this.#subjects.adjudicate(sent, call),
    );
  }

  /** Confirms the region that another caller has proposed. */
  confirmAdjudication(
    request: MessageInitShape<typeof AdjudicateSubjectRequestSchema>,
  ): Promise<Written<AdjudicateSubjectResponse>> {
    const { message } = identified(AdjudicateSubjectRequestSchema, request);
    return this.#change(message, "ADJUDICATE", (sent, call) =>
      this.#subjects.confirmAdjudication(sent, call),
    );
  }

  /** Orders the move of a subject. It goes on by itself: see {@link operation}. */
  relocate(request: MessageInitShape<typeof RelocateSubjectRequestSchema>): Promise<Operation> {
    const { message } = identified(RelocateSubjectRequestSchema, request);
    return this.#ask(message, (sent, call) => this.#subjects.relocate(sent, call));
  }

  /** The move of a subject: the one that goes on, or else the last one. Its receipt is not checked. */
  operation(request: MessageInitShape<typeof GetOperationRequestSchema>): Promise<Operation> {
    return this.#ask(request, (message, call) => this.#operations.get(message, call));
  }

  /** The moves from a region, or from all, that have not ended. */
  operations(
    request: MessageInitShape<typeof ListOperationsRequestSchema>,
  ): Promise<ListOperationsResponse> {
    return this.#ask(request, (message, call) => this.#operations.list(message, call));
  }

  /** Gives up the move of a subject. */
  cancelOperation(
    request: MessageInitShape<typeof CancelOperationRequestSchema>,
  ): Promise<Operation> {
    return this.#ask(request, (message, call) => this.#operations.cancel(message, call));
  }

  /** Erases a subject in one region, or one collection of it. The receipt is given once: keep it. */
  erase(
    request: MessageInitShape<typeof EraseSubjectRequestSchema>,
  ): Promise<Written<EraseSubjectResponse>> {
    const { message, drawn } = identified(EraseSubjectRequestSchema, request);
    const { collection } = message;
    const call: CallOf<typeof message, EraseSubjectResponse> = (sent, options) =>
      this.#subjects.erase(sent, options);
    return this.#once(message, "ERASE", drawn, collection, call);
  }

  /** Replaces the keys of a subject in one region. */
  rotateKey(
    request: MessageInitShape<typeof RotateSubjectKeyRequestSchema>,
  ): Promise<Written<RotateSubjectKeyResponse>> {
    const { message, drawn } = identified(RotateSubjectKeyRequestSchema, request);
    const call: CallOf<typeof message, RotateSubjectKeyResponse> = (sent, options) =>
      this.#subjects.rotateKey(sent, options);
    return this.#once(message, "KEY", drawn, "", call);
  }

  /** Blocks a subject: its records are kept, and neither read, written nor erased until then. */
  block(
    request: MessageInitShape<typeof BlockSubjectRequestSchema>,
  ): Promise<Written<BlockSubjectResponse>> {
    const message = create(BlockSubjectRequestSchema, request);
    return this.#change(message, "BLOCK", (sent, call) => this.#subjects.block(sent, call));
  }

  /** Lifts the block on a subject. */
  unblock(
    request: MessageInitShape<typeof UnblockSubjectRequestSchema>,
  ): Promise<Written<UnblockSubjectResponse>> {
    const message = create(UnblockSubjectRequestSchema, request);
    return this.#change(message, "UNBLOCK", (sent, call) => this.#subjects.unblock(sent, call));
  }

  /**
   * Everything that a region holds of a subject: first the subject, then each record; of an attachment all
   * but the body. It ends without an error only if it is whole, and is not begun again by itself.
   */
  async *export(
    request: MessageInitShape<typeof ExportSubjectRequestSchema>,
  ): AsyncGenerator<
    { case: "subject"; value: Subject } | { case: "record"; value: StoredRecord },
    void
  > {
    let [records, whole] = [0n, false];
    try {
      for await (const { part } of this.#subjects.export(request)) {
        if (part.case === "record") records += 1n;
        if (part.case === "record" || part.case === "subject") yield part;
        whole = part.case === "end" && part.value.recordCount === records;
      }
    } catch (cause) {
      throw errorOf(cause);
    }
    if (!whole) throw Unavailable.broken("the export ended before it was whole: begin it again");
  }

  async #ask<M, A>(message: M, call: CallOf<M, A>): Promise<A> {
    const [answer] = await this.#attempts(message, call);
    return answer;
  }

  /** A change that is known by what it leaves: where nothing was changed there is no receipt. */
  async #change<M extends SubjectRequest, A extends Changed>(
    message: M,
    kind: string,
    call: CallOf<M, A>,
  ): Promise<Written<A>> {
    const answer = await this.#ask(message, call);
    const changes = answer.stands !== false && !answer.replayed && !message.validateOnly;
    const known = { tenant: this.#tenant, first: false };
    return checkSubject(message, answer, changes, kind, "", known);
  }

  /** A change that is known by its request id. */
  async #once<M extends SubjectRequest, A extends Changed>(
    message: M,
    kind: string,
    drawn: boolean,
    collection: string,
    call: CallOf<M, A>,
  ): Promise<Written<A>> {
    const [answer, once] = await this.#attempts(message, call);
    const known = { tenant: this.#tenant, first: once && drawn };
    return checkSubject(message, answer, !message.validateOnly, kind, collection, known);
  }
}

type CallOf<M, A> = (message: M, options: { timeoutMs: number }) => Promise<A>;

/** The message of a write, with an id if it has none, and whether that was drawn here. */
export function identified<D extends DescMessage>(
  schema: D,
  request: MessageInitShape<D>,
): { message: MessageShape<D>; drawn: boolean } {
  const message = clone(schema, create(schema, request)) as MessageShape<D> & { requestId: string };
  const drawn = message.requestId === "";
  if (drawn) message.requestId = randomUUID();
  return { message, drawn };
}
