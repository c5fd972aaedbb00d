// What is read in many answers: lists by pages, scans and watches as streams.

import { setTimeout as sleep } from "node:timers/promises";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client as Rpc, Code } from "@connectrpc/connect";

import { type BailiwickError, errorOf, Unavailable } from "./errors.js";
import type {
  ListRecordsResponse,
  Record as StoredRecord,
  Records,
  ScanRecordsResponse,
  WatchRecordsRequestSchema,
  WatchRecordsResponse,
} from "./gen/bailiwick/v1/records_pb.js";

/**
 * The records of a list, page after page; to go through it again lists again. After the last one, what it
 * lacks is known.
 */
export class RecordList implements AsyncIterable<StoredRecord> {
  /** Regions that are missing, and why: a reason of docs/errors.md, or empty. */
  readonly missing = new Map<string, string>();
  /** Records that may not leave for the caller. */
  withheld = 0n;
  readonly #page: (pageToken: string | undefined) => Promise<ListRecordsResponse>;

  constructor(page: (pageToken: string | undefined) => Promise<ListRecordsResponse>) {
    this.#page = page;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StoredRecord, void> {
    this.missing.clear();
    this.withheld = 0n;
    let pageToken: string | undefined;
    do {
      const page = await this.#page(pageToken);
      for (const region of page.unreachable) {
        if (!this.missing.has(region)) this.missing.set(region, "");
      }
      for (const { region, reason } of page.missing) this.missing.set(region, reason);
      this.withheld += page.withheld;
      yield* page.records;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }
}

/** All records of a collection in one region. A scan that breaks is not begun again by itself. */
export class RecordScan implements AsyncIterable<StoredRecord> {
  /** Records that may not leave for the caller, once all have come. */
  withheld = 0n;
  readonly #begin: () => AsyncIterable<ScanRecordsResponse>;

  constructor(begin: () => AsyncIterable<ScanRecordsResponse>) {
    this.#begin = begin;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StoredRecord, void> {
    this.withheld = 0n;
    try {
      for await (const page of this.#begin()) {
        this.withheld += page.withheld;
        yield* page.records;
      }
    } catch (cause) {
      throw errorOf(cause);
    }
  }
}

/** The answers of a watch, without an end: where the stream breaks it is opened with the last cursor. */
export async function* watch(
  rpc: Rpc<typeof Records>,
  request: MessageInitShape<typeof WatchRecordsRequestSchema>,
  attempts: number,
): AsyncGenerator<WatchRecordsResponse, void> {
  let { cursor } = request;
  for (let failed = 1; ; failed++) {
    let error: BailiwickError;
    try {
      for await (const answer of rpc.watch({ ...request, ...(cursor !== undefined && { cursor }) })) {
        failed = 0;
        ({ cursor } = answer);
        yield answer;
      }
      error = Unavailable.broken("the watch ended");
    } catch (cause) {
      error = errorOf(cause);
    }
    // A token that ran out while the stream was open: the next may be another.
    const renew = error.code === Code.Unauthenticated && failed === 0;
    const after = renew ? 0 : error.retryAfterMs;
    if (after === undefined || failed >= attempts) throw error;
    await sleep(after + backoffMs(failed + 1));
  }
}

/** A wait before that attempt, besides the one that the gateway wants. */
export function backoffMs(attempt: number): number {
  return Math.random() * Math.min(50 * 2 ** attempt, 2_000);
}
