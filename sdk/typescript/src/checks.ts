// The answers to writes, checked against their requests: each must have a receipt of this very write,
// in a log of the region that holds the record.

import { Unproven } from "./errors.js";
import type { UploadSpec } from "./gen/bailiwick/v1/attachments_pb.js";
import type { Receipt } from "./gen/bailiwick/v1/ledger_pb.js";
import type {
  DeleteRecordRequest,
  PatchRecordRequest,
  PutRecordRequest,
  PutRecordResponse,
  SubjectRef,
  TouchRecordRequest,
} from "./gen/bailiwick/v1/records_pb.js";
import type {
  CreateSubjectRequest,
  CreateSubjectResponse,
} from "./gen/bailiwick/v1/subjects_pb.js";
import { checkWrite, decodeStatement, type Entry, type Known, same } from "./receipts.js";

/**
 * The answer to a write, checked against the request. `entry` is that of its receipt. Undefined: nothing
 * shows the write but the gateway's word, since a later write has superseded it; or it was a dry run.
 */
export type Written<A> = A & { readonly entry: Entry | undefined };

/** What the answers to all writes of a record have. */
interface Answer {
  version: bigint;
  replayed: boolean;
  receipt?: Receipt | undefined;
}

const EMPTY = new Uint8Array();

function written<A extends object>(answer: A, entry: Entry | undefined): Written<A> {
  return Object.assign(answer, { entry });
}

/** The domicile that is answered, which must be the one that was asked for, if one was. */
function place(
  asked: SubjectRef | undefined,
  answered: SubjectRef | undefined,
): { subject: string; domicile: string } {
  const [subject, wanted] = [asked?.id ?? "", asked?.domicile ?? ""];
  if (answered?.id !== subject) throw new Unproven("the answer is about another subject");
  const { domicile } = answered;
  if (domicile === "" || (wanted !== "" && wanted !== domicile)) {
    throw new Unproven("the answer is of another region than the one that was asked for");
  }
  return { subject, domicile };
}

function versionOf(answer: Answer): bigint {
  if (answer.version < 1n) throw new Unproven("the answer has no version");
  return answer.version;
}

/** What a put of that version leaves: a version before it is needed for one to be replaced. */
function kindsOfPut(version: bigint, ifVersion: bigint | undefined): string[] {
  return version > 1n && ifVersion !== 0n ? ["PLACE", "REPLACE"] : ["PLACE"];
}

/** Checks a put's answer. Throws {@link Unproven}. */
export function checkPut<A extends PutRecordResponse>(
  request: PutRecordRequest,
  answer: A,
  known: Known,
): Written<A> {
  if (request.validateOnly) return written(answer, undefined);
  const version = versionOf(answer);
  const expected = {
    ...place(request.subject, answer.subject),
    collection: request.collection,
    key: request.key,
    version,
    body: request.body,
    kinds: kindsOfPut(version, request.ifVersion),
    superseded: true,
  };
  return written(answer, checkWrite(answer.receipt, answer.replayed, expected, known));
}

/** The same for an upload. `hashed`: the SHA-256 of a prefix and the content, which is read again. */
export async function checkUpload(
  spec: UploadSpec,
  answer: PutRecordResponse,
  known: Known,
  hashed: (prefix: Uint8Array) => Promise<Uint8Array>,
): Promise<Written<PutRecordResponse>> {
  const version = versionOf(answer);
  const expected = {
    ...place(spec.subject, answer.subject),
    collection: spec.collection,
    key: spec.key,
    version,
    body: undefined,
    kinds: kindsOfPut(version, spec.ifVersion),
    superseded: true,
  };
  const { receipt } = answer;
  const entry = checkWrite(receipt, answer.replayed, expected, known);
  if (entry !== undefined && receipt !== undefined) {
    const { digest } = decodeStatement(receipt.statement);
    if (!same(await hashed(receipt.opening), digest)) {
      throw new Unproven("the receipt's statement is about another content");
    }
  }
  return written(answer, entry);
}

/** The same for a delete, a touch or a patch, whose answer names no subject. */
function checkChange<A extends Answer>(
  request: DeleteRecordRequest | PatchRecordRequest | TouchRecordRequest,
  answer: A,
  known: Known,
  kinds: string[],
  body: Uint8Array | undefined,
): Written<A> {
  if (request.validateOnly) return written(answer, undefined);
  const expected = {
    ...place(request.subject, request.subject),
    collection: request.collection,
    key: request.key,
    version: versionOf(answer),
    body,
    kinds,
    superseded: true,
  };
  return written(answer, checkWrite(answer.receipt, answer.replayed, expected, known));
}

/** The same for a delete, which has no content. */
export function checkDelete<A extends Answer>(
  request: DeleteRecordRequest,
  answer: A,
  known: Known,
): Written<A> {
  return checkChange(request, answer, known, ["DELETE"], EMPTY);
}

/** The same for a touch, whose content the caller has not sent. */
export function checkTouch<A extends Answer>(
  request: TouchRecordRequest,
  answer: A,
  known: Known,
): Written<A> {
  return checkChange(request, answer, known, ["REPLACE"], undefined);
}

/** The same for a patch. Where it leaves the body as it is, the content is not known here. */
export function checkPatch<A extends Answer>(
  request: PatchRecordRequest,
  answer: A,
  known: Known,
): Written<A> {
  return checkChange(request, answer, known, ["REPLACE"], request.body);
}

/** The same for the creation of a subject, whose statement has no key and version 0. */
export function checkCreate(
  request: CreateSubjectRequest,
  answer: CreateSubjectResponse,
  known: Known,
): Written<CreateSubjectResponse> {
  if (request.validateOnly) return written(answer, undefined);
  const expected = {
    ...place(request.subject, answer.subject),
    collection: request.collection,
    key: "",
    version: 0n,
    body: EMPTY,
    kinds: ["CREATE"],
    // Nothing supersedes a creation, so its receipt is there for every retry.
    superseded: false,
  };
  return written(answer, checkWrite(answer.receipt, answer.replayed, expected, known));
}

/** What the requests about a whole subject have. */
export interface SubjectRequest {
  subject?: SubjectRef | undefined;
  validateOnly: boolean;
}

/** What the answers to changes of a subject have. */
export interface Changed {
  replayed: boolean;
  receipt?: Receipt | undefined;
  /** Of a reassessment: whether the new rulings stand. */
  stands?: boolean;
}

/**
 * The same for a change of a subject, whose statement has no key, and no collection but that of an erasure
 * of one. `changes`: whether there must be a receipt.
 */
export function checkSubject<A extends Changed>(
  request: SubjectRequest,
  answer: A,
  changes: boolean,
  kind: string,
  collection: string,
  known: Known,
): Written<A> {
  if (!changes) return written(answer, undefined);
  const expected = {
    ...place(request.subject, request.subject),
    collection,
    key: "",
    version: 0n,
    body: EMPTY,
    kinds: [kind],
    superseded: true,
  };
  return written(answer, checkWrite(answer.receipt, answer.replayed, expected, known));
}
