// Attachments: uploads that go on where they were cut, downloads in parts.

import { createHash, randomUUID } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client as Rpc } from "@connectrpc/connect";

import { checkUpload, type Written } from "./checks.js";
import { BailiwickError, errorOf } from "./errors.js";
import {
  type AttachmentInfo,
  type Attachments,
  type DownloadAttachmentRequestSchema,
  type StatAttachmentRequestSchema,
  type UploadAttachmentRequest,
  UploadAttachmentRequestSchema,
  type UploadSpec,
  UploadSpecSchema,
} from "./gen/bailiwick/v1/attachments_pb.js";
import type { PutRecordResponse } from "./gen/bailiwick/v1/records_pb.js";

/** What can be uploaded: bytes, or a file that can be read again. */
export type Uploadable = Uint8Array | FileHandle;

/** The names of an upload and what a put has besides; size and hash are computed. */
export type UploadInit = MessageInitShape<typeof UploadSpecSchema>;

/** Bytes of one message, and of a chunk, which no message crosses. */
const MESSAGE_BYTES = 256 << 10;
const CHUNK_BYTES = 1 << 20;

/** What passes when an upload is taken up again: what is stored is where it goes on. */
const TAKEN_UP_AGAIN = ["UPLOAD_OUT_OF_STEP", "UPLOAD_UNKNOWN", "WRITE_OUTCOME_UNKNOWN"];

/** Uploads and downloads of one client. */
export class AttachmentTransfers {
  readonly #rpc: Rpc<typeof Attachments>;
  readonly #tenant: string | undefined;

  constructor(rpc: Rpc<typeof Attachments>, tenant?: string) {
    this.#rpc = rpc;
    this.#tenant = tenant;
  }

  /**
   * Uploads an attachment, and checks the answer and its receipt: the content is read once more for
   * that. One that is cut is taken up again, `attempts` times without progress.
   */
  async upload(
    init: UploadInit,
    content: Uploadable,
    attempts = 5,
  ): Promise<Written<PutRecordResponse>> {
    const { size, digest } = await hashed(content);
    const spec = clone(UploadSpecSchema, create(UploadSpecSchema, init));
    const drawn = spec.requestId === "";
    if (drawn) spec.requestId = randomUUID();
    [spec.size, spec.sha256] = [BigInt(size), digest];
    let [left, stored, once] = [attempts, 0, true];
    for (;;) {
      const before = stored;
      let answer: PutRecordResponse;
      try {
        answer = await this.#once(spec, content, size, (bytes) => (stored = bytes));
      } catch (cause) {
        const error = cause instanceof BailiwickError ? cause : errorOf(cause);
        left = stored > before ? attempts : left - 1;
        once = false;
        const takenUp = TAKEN_UP_AGAIN.includes(error.reason ?? "");
        if ((error.retryAfterMs === undefined && !takenUp) || left <= 0) throw error;
        await sleep(takenUp ? 50 : (error.retryAfterMs ?? 0));
        continue;
      }
      const known = { tenant: this.#tenant, first: once && drawn };
      return checkUpload(spec, answer, known, async (prefix) => {
        return (await hashed(content, prefix)).digest;
      });
    }
  }

  async #once(
    spec: UploadSpec,
    content: Uploadable,
    size: number,
    progress: (bytes: number) => void,
  ): Promise<PutRecordResponse> {
    // What is sent follows on what is said to be stored.
    let told: (from: number) => void = () => {};
    const from = new Promise<number>((resolve) => (told = resolve));
    const answers = this.#rpc.upload(messages(spec, content, size, from));
    for await (const { outcome } of answers) {
      if (outcome.case === "done") return outcome.value;
      if (outcome.case === "committedBytes") {
        progress(Number(outcome.value));
        told(Number(outcome.value));
      }
    }
    throw errorOf(new Error("the gateway ended the upload without an answer"));
  }

  async stat(
    request: MessageInitShape<typeof StatAttachmentRequestSchema>,
  ): Promise<AttachmentInfo> {
    return this.#rpc.stat(request).catch((cause: unknown) => {
      throw errorOf(cause);
    });
  }

  /** Downloads an attachment or a part of it: what it is, and its bytes as they come. */
  async download(
    request: MessageInitShape<typeof DownloadAttachmentRequestSchema>,
  ): Promise<{ info: AttachmentInfo; data: AsyncGenerator<Uint8Array, void> }> {
    const parts = this.#rpc.download(request)[Symbol.asyncIterator]();
    try {
      const first = await parts.next();
      const part = first.done === true ? undefined : first.value.part;
      if (part?.case !== "attachment") throw new Error("the gateway said nothing");
      return { info: part.value, data: rest(parts) };
    } catch (cause) {
      throw errorOf(cause);
    }
  }
}

async function* rest(
  parts: AsyncIterator<{ part: { case: string | undefined; value?: unknown } }>,
): AsyncGenerator<Uint8Array, void> {
  try {
    for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
      const { part } = next.value;
      if (part.case === "data" && part.value instanceof Uint8Array) yield part.value;
    }
  } catch (cause) {
    throw errorOf(cause);
  }
}

async function* messages(
  spec: UploadSpec,
  content: Uploadable,
  size: number,
  from: Promise<number>,
): AsyncGenerator<UploadAttachmentRequest, void> {
  yield create(UploadAttachmentRequestSchema, { part: { case: "spec", value: spec } });
  for (let at = await from; at < size; ) {
    const end = Math.min(size, (Math.floor(at / CHUNK_BYTES) + 1) * CHUNK_BYTES);
    const data = await bytesOf(content, at, Math.min(end - at, MESSAGE_BYTES));
    const value = { offset: BigInt(at), data };
    yield create(UploadAttachmentRequestSchema, { part: { case: "data", value } });
    at += data.length;
  }
}

/** How many bytes there are, and the SHA-256 of a prefix and them. */
async function hashed(
  content: Uploadable,
  prefix: Uint8Array = new Uint8Array(),
): Promise<{ size: number; digest: Uint8Array }> {
  const hash = createHash("sha256").update(prefix);
  let size = 0;
  for (;;) {
    const data = await bytesOf(content, size, MESSAGE_BYTES);
    if (data.length === 0) return { size, digest: new Uint8Array(hash.digest()) };
    hash.update(data);
    size += data.length;
  }
}

/** Up to so many bytes from a place; none at the end. */
async function bytesOf(content: Uploadable, at: number, length: number): Promise<Uint8Array> {
  if (content instanceof Uint8Array) return content.subarray(at, at + length);
  const buffer = new Uint8Array(length);
  const { bytesRead } = await content.read(buffer, 0, length, at);
  return buffer.subarray(0, bytesRead);
}
