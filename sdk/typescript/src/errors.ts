// Why a call has no answer. Nothing here holds what was sent.

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

import type { Status } from "./gen/google/rpc/status_pb.js";

/** A call that has no answer. */
export class BailiwickError extends Error {
  override name = "BailiwickError";

  constructor(
    message: string,
    /** The code of gRPC. */
    readonly code: Code,
    /** The reason, as docs/errors.md has it. Undefined: it was not the gateway that spoke. */
    readonly reason: string | undefined,
    /** What would help. */
    readonly help: string | undefined,
    /** The call's id, which the gateway's log has too. */
    readonly callId: string | undefined,
    /** What else the refusal says: region, limit, version and the like. */
    readonly metadata: Readonly<Record<string, string>>,
    /** Milliseconds after which the same request may be sent again. Undefined: it may not. */
    readonly retryAfterMs: number | undefined,
    /** The path of the field at fault, as in `evidence[3].value`. */
    readonly field?: string,
  ) {
    super(message);
  }
}

/** There is no such record or subject. */
export class NotFound extends BailiwickError {
  override name = "NotFound";
}
/** A condition on a version was not met, or there is such a thing already. */
export class Conflict extends BailiwickError {
  override name = "Conflict";
}
/** The rules, or the state, do not allow it. */
export class Refused extends BailiwickError {
  override name = "Refused";
}
/** The request is wrong, whatever the state. */
export class InvalidRequest extends BailiwickError {
  override name = "InvalidRequest";
}
/** The caller is not known, or may not do that. */
export class NotAllowed extends BailiwickError {
  override name = "NotAllowed";
}
/** Not now: a limit is reached, a region is out of reach, or time was up. */
export class Unavailable extends BailiwickError {
  override name = "Unavailable";

  /** The connection broke, or a stream ended early. The same request may be sent again at once. */
  static broken(what: string): Unavailable {
    const [none, code] = [undefined, Code.Unavailable];
    return new Unavailable(what, code, none, none, none, {}, 0);
  }
}

/** The answer came, and its receipt does not prove the write that was asked for. */
export class Unproven extends BailiwickError {
  override name = "Unproven";

  constructor(message: string) {
    super(message, Code.DataLoss, undefined, undefined, undefined, {}, undefined);
  }
}

/** The bytes of an attachment came, and do not have the hash that its region states. */
export class Altered extends BailiwickError {
  override name = "Altered";

  constructor() {
    const [what, none] = ["the bytes do not have the hash that the region states", undefined];
    super(what, Code.DataLoss, none, none, none, {}, none);
  }
}

function classOf(code: Code): typeof BailiwickError {
  switch (code) {
    case Code.NotFound:
      return NotFound;
    case Code.Aborted:
    case Code.AlreadyExists:
      return Conflict;
    case Code.FailedPrecondition:
      return Refused;
    case Code.InvalidArgument:
    case Code.OutOfRange:
      return InvalidRequest;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return NotAllowed;
    case Code.Unavailable:
    case Code.ResourceExhausted:
    case Code.DeadlineExceeded:
      return Unavailable;
    default:
      return BailiwickError;
  }
}

/** What an item of a batch says that failed: google.rpc.Status. */
export function errorOfStatus(status: Status): BailiwickError {
  const error = new ConnectError(status.message, status.code as Code);
  error.details = status.details.map(({ typeUrl, value }) => {
    return { type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value };
  });
  return errorOf(error);
}

/** What a failed call says. */
export function errorOf(cause: unknown): BailiwickError {
  const error = ConnectError.from(cause);
  let info: ErrorInfo | undefined;
  let delay: number | undefined;
  let field: string | undefined;
  for (const detail of error.details) {
    if (!("type" in detail) || !("value" in detail)) continue;
    if (detail.type === "google.rpc.ErrorInfo") info = errorInfo(detail.value);
    if (detail.type === "google.rpc.RetryInfo") delay = retryDelayMs(detail.value);
    if (detail.type === "google.rpc.BadRequest") field ??= fieldAtFault(detail.value);
  }
  // Without a reason of ours it was not the gateway that spoke, but the connection.
  if (info?.domain !== DOMAIN) info = undefined;
  if (info === undefined && isBroken(error)) return Unavailable.broken(error.rawMessage);
  const full = error.code === Code.ResourceExhausted;
  // A limit without a reason of ours is the transport's own: what is too large stays so.
  const passing = error.code === Code.Unavailable || (full && info !== undefined);
  const again = passing ? (delay ?? 100) : undefined;
  const { cure, call_id, ...metadata } = info?.metadata ?? {};
  const Kind = full && info === undefined ? BailiwickError : classOf(error.code);
  const { rawMessage, code } = error;
  return new Kind(rawMessage, code, info?.reason, cure, call_id, metadata, again, field);
}

/** The domain of our reasons. */
const DOMAIN = "bailiwick.v1";

/** Whether a connection or a stream ended, as Connect's transport says it. */
function isBroken({ code, rawMessage }: ConnectError): boolean {
  const ended = code === Code.Canceled || code === Code.Aborted;
  return ended || (code === Code.Internal && rawMessage.startsWith("http/2 stream closed"));
}

interface ErrorInfo {
  reason: string;
  domain: string;
  metadata: Record<string, string>;
}

/** google.rpc.ErrorInfo: reason = 1, domain = 2, metadata = 3. */
function errorInfo(bytes: Uint8Array): ErrorInfo {
  const info: ErrorInfo = { reason: "", domain: "", metadata: {} };
  fields(bytes, (reader, field) => {
    if (field === 1) info.reason = reader.string();
    else if (field === 2) info.domain = reader.string();
    else if (field === 3) {
      let [key, value] = ["", ""];
      fields(reader.bytes(), (entry, part) => {
        if (part === 1) key = entry.string();
        else if (part === 2) value = entry.string();
        else return false;
        return true;
      });
      info.metadata[key] = value;
    } else return false;
    return true;
  });
  return info;
}

/** google.rpc.BadRequest: field_violations = 1, of field = 1. The first of them. */
function fieldAtFault(bytes: Uint8Array): string | undefined {
  let found: string | undefined;
  fields(bytes, (reader, field) => {
    if (field !== 1) return false;
    fields(reader.bytes(), (violation, part) => {
      if (part !== 1) return false;
      const path = violation.string();
      found ??= path;
      return true;
    });
    return true;
  });
  return found;
}

/** google.rpc.RetryInfo: retry_delay = 1, of seconds = 1 and nanos = 2. */
function retryDelayMs(bytes: Uint8Array): number {
  let ms = 0;
  fields(bytes, (reader, field) => {
    if (field !== 1) return false;
    fields(reader.bytes(), (delay, part) => {
      if (part === 1) ms += Number(delay.int64()) * 1_000;
      else if (part === 2) ms += delay.int32() / 1_000_000;
      else return false;
      return true;
    });
    return true;
  });
  return ms;
}

/** Goes through the fields of a message. `take` says whether it has read the field. */
function fields(bytes: Uint8Array, take: (reader: BinaryReader, field: number) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.EndGroup || !take(reader, field)) reader.skip(type, field);
  }
}
