// Attachments: uploads that go on where they were cut, downloads in parts.

import { createHash, randomUUID } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client as Rpc } from "@connectrpc/connect";

import { checkUpload, type Written } from "./checks.js";
import { Altered, BailiwickError, errorOf, Unavailable } from "./errors.js";
import {
  type AttachmentInfo,
  type Attachments,
  DownloadAttachmentRequestSchema,
  type DownloadAttachmentRequest,
  type DownloadAttachmentResponse,
  type StatAttachmentRequestSchema,
  type UploadAttachmentRequest,
  UploadAttachmentRequestSchema,
  type UploadSpec,
  UploadSpecSchema,
} from "./gen/bailiwick/v1/attachments_pb.js";
import type { PutRecordResponse } from "./gen/bailiwick/v1/records_pb.js";
import { same } from "./receipts.js";
import { backoffMs } from "./streams.js";
import type { Attempts } from "./subjects.js";

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
  readonly #attempts: Attempts;
  readonly #patienceMs: number;

  /** `patienceMs`: how long a stream may be silent. */
  constructor(
    rpc: Rpc<typeof Attachments>,
    tenant: string | undefined,
    attempts: Attempts,
    patienceMs: number,
  ) {
    this.#rpc = rpc;
    this.#tenant = tenant;
    this.#attempts = attempts;
    this.#patienceMs = patienceMs;
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
    const patience = new Patience(this.#patienceMs);
    try {
      const sent = messages(spec, content, size, from);
      for await (const { outcome } of this.#rpc.upload(sent, { signal: patience.signal })) {
        patience.again();
        if (outcome.case === "done") return outcome.value;
        if (outcome.case === "committedBytes") {
          progress(Number(outcome.value));
          told(Number(outcome.value));
        }
      }
    } finally {
      patience.end();
    }
    throw Unavailable.broken("the gateway ended the upload without an answer");
  }

  /** What an attachment is, without its body. */
  async stat(
    request: MessageInitShape<typeof StatAttachmentRequestSchema>,
  ): Promise<AttachmentInfo> {
    const [info] = await this.#attempts(request, (sent, call) => this.#rpc.stat(sent, call));
    return info;
  }

  /**
   * Downloads an attachment or a part of it: what it is, and its bytes as they come. One that is cut goes on
   * where it was, as long as the attachment is the same, `attempts` times without a byte. The hash of a whole
   * attachment is checked at the end ({@link Altered}): until then, what came is not to be relied on.
   */
  async download(
    request: MessageInitShape<typeof DownloadAttachmentRequestSchema>,
    attempts = 5,
  ): Promise<{ info: AttachmentInfo; data: AsyncGenerator<Uint8Array, void> }> {
    const asked = clone(
      DownloadAttachmentRequestSchema,
      create(DownloadAttachmentRequestSchema, request),
    );
    const first = new Part(this.#rpc, asked, this.#patienceMs);
    try {
      const part = await first.next();
      if (part?.case !== "attachment") throw Unavailable.broken("the gateway said nothing");
      return { info: part.value, data: this.#bytes(asked, part.value, first, attempts) };
    } catch (cause) {
      first.end();
      throw cause instanceof BailiwickError ? cause : errorOf(cause);
    }
  }

  async *#bytes(
    asked: DownloadAttachmentRequest,
    info: AttachmentInfo,
    first: Part,
    attempts: number,
  ): AsyncGenerator<Uint8Array, void> {
    const whole = asked.offset === 0n && asked.length === 0n;
    const rest = info.size > asked.offset ? info.size - asked.offset : 0n;
    let left = asked.length === 0n || asked.length > rest ? rest : asked.length;
    const hash = createHash("sha256");
    asked.etag = info.etag;
    let part = first;
    for (let failed = 1; ; failed++) {
      let error = Unavailable.broken("the download ended before its end") as BailiwickError;
      try {
        for (let got = await part.next(); got !== undefined; got = await part.next()) {
          if (got.case !== "data") continue;
          [failed, left] = [0, left - BigInt(got.value.length)];
          asked.offset += BigInt(got.value.length);
          hash.update(got.value);
          yield got.value;
        }
      } catch (cause) {
        error = errorOf(cause);
      } finally {
        part.end();
      }
      if (left <= 0n) break;
      if (error.retryAfterMs === undefined || failed >= attempts) throw error;
      await sleep(error.retryAfterMs + backoffMs(failed + 1));
      if (asked.length !== 0n) asked.length = left;
      part = new Part(this.#rpc, asked, this.#patienceMs);
    }
    if (whole && info.sha256.length > 0 && !same(new Uint8Array(hash.digest()), info.sha256)) {
      throw new Altered();
    }
  }
}

/** One stream of a download. */
class Part {
  readonly #patience: Patience;
  readonly #answers: AsyncIterator<DownloadAttachmentResponse>;

  constructor(rpc: Rpc<typeof Attachments>, asked: DownloadAttachmentRequest, patienceMs: number) {
    this.#patience = new Patience(patienceMs);
    const answers = rpc.download(asked, { signal: this.#patience.signal });
    this.#answers = answers[Symbol.asyncIterator]();
  }

  /** What came next. Undefined: the stream has ended. */
  async next(): Promise<DownloadAttachmentResponse["part"] | undefined> {
    // Only the wait for the gateway counts, and not what the caller does meanwhile.
    this.#patience.again();
    const next = await this.#answers.next();
    this.#patience.pause();
    return next.done === true ? undefined : next.value.part;
  }

  end(): void {
    this.#patience.end();
  }
}

/** Ends a stream that says nothing for too long. */
class Patience {
  readonly #ended = new AbortController();
  readonly #ms: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number) {
    this.#ms = ms;
    this.again();
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  again(): void {
    this.pause();
    this.#timer = setTimeout(() => this.#ended.abort(), this.#ms);
  }

  pause(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    this.pause();
    this.#ended.abort();
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
