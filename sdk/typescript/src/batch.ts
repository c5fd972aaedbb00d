// Batches: many requests in one call, each with an outcome of its own.

import { isMessage } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import { BailiwickError, Unavailable, Unproven } from "./errors.js";
import { GetRecordRequestSchema } from "./gen/bailiwick/v1/records_pb.js";
import type { Known } from "./receipts.js";

/** One request of a batch, and whether its id was drawn by the client. */
export interface Item<M> {
  message: M;
  drawn: boolean;
}

/** What is still to be sent of a batch, and what became of the rest. */
export class Batch<M, R, T> {
  readonly ends: (T | BailiwickError)[] = [];
  #waiting: [number, Item<M>][];

  /** `read`: what a result says; undefined: nothing. */
  constructor(
    items: Item<M>[],
    private readonly read: (
      result: R,
      message: M,
      known: Known,
    ) => T | BailiwickError | undefined,
    private readonly known: (first: boolean) => Known,
  ) {
    this.#waiting = [...items.entries()];
  }

  pending(): M[] {
    return this.#waiting.map(([, { message }]) => message);
  }

  /**
   * Takes the results of what was pending. Gives the error that wants the longest wait, if some of it may
   * be sent again. `once`: nothing was sent before.
   */
  answered(results: R[], once: boolean): BailiwickError | undefined {
    if (results.length !== this.#waiting.length) {
      throw new Unproven("the answer to a batch has another number of results");
    }
    let worst: BailiwickError | undefined;
    this.#waiting = this.#waiting.filter(([n, { message, drawn }], at) => {
      const end = this.#end(results[at], message, this.known(once && drawn));
      this.ends[n] = end;
      if (!(end instanceof BailiwickError) || end.retryAfterMs === undefined) return false;
      if (end.retryAfterMs >= (worst?.retryAfterMs ?? 0)) worst = end;
      return true;
    });
    return worst;
  }

  #end(result: R | undefined, message: M, known: Known): T | BailiwickError {
    try {
      const end = result === undefined ? undefined : this.read(result, message, known);
      if (end === undefined) throw new Unproven("a result of a batch is empty");
      return end;
    } catch (error) {
      if (error instanceof Unproven) return error;
      throw error;
    }
  }

  /** What was sent again has no answer. */
  failed(error: BailiwickError): (T | BailiwickError)[] {
    const what = "the batch was not answered";
    const help = "send the same request again with the same request_id";
    const reason = "WRITE_OUTCOME_UNKNOWN";
    const { Unavailable: code } = Code;
    // What was refused before may have been done since; a read has nothing to do.
    const unknown = new Unavailable(what, code, reason, help, undefined, {}, 0);
    for (const [n, { message }] of this.#waiting) {
      this.ends[n] = isMessage(message, GetRecordRequestSchema) ? error : unknown;
    }
    return this.ends;
  }
}
