// Receipts: whether an answer proves the write that was asked for, and, offline and with the public key
// of a log, that the log has its entry.
//
// The formats are in `crates/ledger` of the repository, whose golden vectors are the tests of this file.
// Everything is read strictly: what does not have exactly one form is refused.

import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";

import { Unproven } from "./errors.js";
import type { Receipt } from "./gen/bailiwick/v1/ledger_pb.js";

const KINDS = (
  "GENESIS MAP PLACE REPLACE DELETE EXPIRE ERASE READ COUNT REFUSE MOVE_OUT MOVE_IN COPY_OUT " +
  "COPY_IN EXPORT KEY BACKUP RESTORE SEAL CREATE BLOCK UNBLOCK REASSESS COPY_DROP ADJUDICATE"
).split(" ");
const ROLES = "writer reader eraser operator auditor shard adjudicator approver".split(" ");
const EVIDENCE = "citizenship document residence collected_in ip phone sim".split(" ");
const ENTRY_BYTES_MAX = 32_768;
const NOTE_BYTES_MAX = 1_000_000;
const EXTRA_BYTES_MAX = 1 << 17;
const SIGNATURES_MAX = 100;
const PATH_MAX = 64;
const HASH_BYTES = 32;
const HEADER = "c2sp.org/tlog-proof@v1\n";
const U32_MAX = 0xffff_ffff;
const U64_MAX = (1n << 64n) - 1n;
/**
 * Public keys of small order: they accept signatures that were not made (both encodings of y where
 * there are two; the sign bit is ignored).
 */
const WEAK = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000001",
  "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
  "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
  "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffee",
  "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
  "7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7",
]);

/** An entry of a placement log. It has no content and no direct identifier. */
export interface Entry {
  readonly kind: string;
  /** Whole minutes since 1970-01-01T00:00Z. */
  readonly minute: number;
  readonly collection: string | undefined;
  readonly jurisdictions: readonly string[];
  readonly statutes: readonly string[];
  readonly clauses: readonly string[];
  /** Number and digest of the region map that ruled. */
  readonly map: { readonly epoch: bigint; readonly digest: Uint8Array } | undefined;
  readonly evidenceKinds: readonly string[];
  /** The role in which the caller acted, and its territory if that is known. */
  readonly caller: { readonly role: string; readonly territory: string | undefined } | undefined;
  readonly commitment: Uint8Array | undefined;
}

/** What an entry commits to. All of it may be personal data. */
export interface Statement {
  readonly tenant: string;
  readonly subject: string;
  readonly collection: string;
  readonly key: string;
  readonly version: bigint;
  readonly digest: Uint8Array;
}

/** What a log was at some size, as its key has signed it. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: bigint;
  readonly root: Uint8Array;
}

/** Takes bytes apart from their front. */
class Reader {
  readonly #data: Uint8Array;
  readonly #what: string;
  #at = 0;

  constructor(data: Uint8Array, what: string) {
    this.#data = data;
    this.#what = what;
  }

  take(length: number): Uint8Array {
    const part = this.#data.subarray(this.#at, this.#at + length);
    if (part.length !== length) throw this.wrong();
    this.#at += length;
    return part;
  }

  /** A big-endian number of at most six bytes. */
  number(bytes: 1 | 2 | 4): number {
    return this.take(bytes).reduce((number, byte) => number * 256 + byte, 0);
  }

  u64(): bigint {
    return this.take(8).reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
  }

  end(): void {
    if (this.#at !== this.#data.length) throw this.wrong();
  }

  wrong(): Unproven {
    return new Unproven(`the receipt's ${this.#what} is malformed`);
  }

  /** Bytes of one length, each in a range of ASCII. */
  #ascii(length: number, most: number, fits: (byte: number) => boolean): string {
    const bytes = this.take(length);
    if (length < 1 || length > most || !bytes.every(fits)) throw this.wrong();
    return String.fromCharCode(...bytes);
  }

  name(): string {
    return this.#ascii(this.number(1), 127, (c) => c >= 0x21 && c <= 0x7e && c !== 0x2c);
  }

  names(): string[] {
    const count = this.number(1);
    const names = Array.from({ length: count }, () => this.name());
    // Ascending, and none twice: names are ASCII.
    const sorted = names.every((name, n) => n === 0 || (names[n - 1] ?? "") < name);
    if (count < 1 || count > 64 || !sorted) throw this.wrong();
    return names;
  }

  text(): void {
    this.#ascii(this.number(2), 512, (c) => c >= 0x20 && c <= 0x7e);
  }

  utf8(): string {
    try {
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      return decoder.decode(this.take(this.number(4)));
    } catch {
      throw this.wrong();
    }
  }

  /** The details of an entry: checked, and not kept, since no receipt needs them. */
  details(): void {
    const count = this.number(1);
    if (count === 0) throw this.wrong();
    for (let n = 0, last = 0; n < count; n++) {
      const code = this.number(1);
      if (code <= last) throw this.wrong();
      last = code;
      if (code === 1) this.take(8);
      else if (code === 5) this.take(4);
      else if (code >= 2 && code <= 11) {
        this.text();
        if (code === 3) this.take(40);
        if (code === 4) this.take(8);
      } else throw this.wrong();
    }
  }

  /** Whether the next byte is 0, which is taken then. */
  isZero(): boolean {
    const zero = this.#data[this.#at] === 0;
    if (zero) this.take(1);
    return zero;
  }
}

/** The entry of these bytes. Throws {@link Unproven}. */
export function decodeEntry(data: Uint8Array): Entry {
  const reader = new Reader(data, "entry");
  if (data.length > ENTRY_BYTES_MAX || reader.number(1) !== 1) throw reader.wrong();
  const [kind, minute, present] = [reader.number(1), reader.number(4), reader.number(2)];
  const name = KINDS[kind - 1];
  if (name === undefined || present >= 1 << 11) throw reader.wrong();
  const has = (bit: number): boolean => (present & (1 << bit)) !== 0;
  if (has(0)) reader.take(16);
  const collection = has(1) ? reader.name() : undefined;
  const jurisdictions = has(2) ? reader.names() : [];
  const statutes = has(3) ? reader.names() : [];
  const clauses = has(4) ? reader.names() : [];
  const map = has(5) ? { epoch: reader.u64(), digest: reader.take(HASH_BYTES) } : undefined;
  const bits = has(6) ? reader.number(1) : 0;
  if ((has(6) && bits === 0) || bits > 0x7f) throw reader.wrong();
  const caller = has(7) ? callerOf(reader) : undefined;
  if (has(8)) reader.take(8);
  if (has(9)) reader.details();
  const commitment = has(10) ? reader.take(HASH_BYTES) : undefined;
  reader.end();
  const evidenceKinds = EVIDENCE.filter((_, bit) => (bits & (1 << bit)) !== 0);
  return {
    kind: name, minute, collection, jurisdictions, statutes, clauses, map, evidenceKinds, caller,
    commitment,
  };
}

function callerOf(reader: Reader): Entry["caller"] {
  const role = ROLES[reader.number(1) - 1];
  if (role === undefined) throw reader.wrong();
  reader.take(16);
  return { role, territory: reader.isZero() ? undefined : reader.name() };
}

/** The statement of these bytes. Throws {@link Unproven}. */
export function decodeStatement(data: Uint8Array): Statement {
  const reader = new Reader(data, "statement");
  if (reader.number(1) !== 1) throw reader.wrong();
  const [tenant, subject] = [reader.utf8(), reader.utf8()];
  const [collection, key] = [reader.utf8(), reader.utf8()];
  const [version, digest] = [reader.u64(), reader.take(HASH_BYTES)];
  reader.end();
  return { tenant, subject, collection, key, version, digest };
}

/** SHA-256 of the parts, one after the other. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

/** Whether two hashes are the same. */
export function same(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

/**
 * What can be checked without the log: that the entry commits to the statement, and the statement to
 * the body, if one is given. Throws {@link Unproven}.
 */
export function checkReceipt(
  receipt: Receipt,
  body: Uint8Array | undefined,
): { entry: Entry; statement: Statement } {
  const entry = decodeEntry(receipt.entry);
  const statement = decodeStatement(receipt.statement);
  if (receipt.opening.length !== HASH_BYTES) {
    throw new Unproven("the receipt's opening is malformed");
  }
  const mac = createHmac("sha256", "bailiwick placement v1");
  const commitment = mac.update(receipt.opening).update(receipt.statement).digest();
  if (entry.commitment === undefined || !same(entry.commitment, commitment)) {
    throw new Unproven("the receipt's entry commits to another statement");
  }
  if (entry.collection !== undefined && entry.collection !== statement.collection) {
    throw new Unproven("the receipt's entry is of another collection than the statement");
  }
  if (body !== undefined && !same(sha256(receipt.opening, body), statement.digest)) {
    throw new Unproven("the receipt's statement is about another content");
  }
  return { entry, statement };
}

/**
 * Checks a receipt offline, with its proof (`receiptView: ReceiptView.FULL`) and the public key of its
 * log, which came by another way: that the log has this entry, and that the entry commits to the
 * statement and, if one is given, to the body. Throws {@link Unproven}.
 */
export function verifyReceipt(
  receipt: Receipt,
  logKey: string,
  body?: Uint8Array,
): { entry: Entry; checkpoint: Checkpoint } {
  if (receipt.tlogProof === "") {
    throw new Unproven("the receipt has no proof: ask for ReceiptView.FULL");
  }
  const { entry } = checkReceipt(receipt, body);
  const { index, path, note } = parseProof(receipt.tlogProof);
  const checkpoint = openCheckpoint(note, logKey);
  verifyInclusion(index, checkpoint, sha256(Uint8Array.of(0), receipt.entry), path);
  if (index !== receipt.index || checkpoint.origin !== receipt.origin) {
    throw new Unproven("the proof is of another entry than the receipt");
  }
  return { entry, checkpoint };
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function strictBase64(text: string): Uint8Array {
  const data = Buffer.from(text, "base64");
  if (data.toString("base64") !== text) throw new Unproven("malformed base64");
  return new Uint8Array(data);
}

function decimal(text: string): bigint {
  const number = /^(0|[1-9][0-9]{0,19})$/.test(text) ? BigInt(text) : -1n;
  if (number < 0n || number > U64_MAX) throw new Unproven("malformed number");
  return number;
}

function isKeyName(name: string): boolean {
  const bytes = utf8(name).length;
  return bytes >= 1 && bytes <= 255 && !/[\s+\u0000-\u001f\u007f-\u009f]/u.test(name);
}

interface LogKey {
  name: string;
  id: Uint8Array;
  key: KeyObject;
}

function parseKey(vkey: string): LogKey {
  const [name, hex, ...rest] = vkey.split("+");
  if (name === undefined || hex === undefined || rest.length === 0 || !isKeyName(name)) {
    throw new Unproven("the log's key is not a verifier key");
  }
  // Base64 has the sign too.
  const typed = strictBase64(rest.join("+"));
  const id = sha256(utf8(`${name}\n`), typed).subarray(0, 4);
  if (Buffer.from(id).toString("hex") !== hex || typed.length !== 33 || typed[0] !== 1) {
    throw new Unproven("the log's key is not a verifier key for Ed25519");
  }
  const raw = Buffer.from(typed.subarray(1));
  const y = Buffer.from(raw).reverse();
  y.writeUInt8(y.readUInt8(0) & 0x7f, 0);
  if (WEAK.has(y.toString("hex"))) throw new Unproven("the log's key is of small order");
  const jwk = { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") };
  return { name, id, key: createPublicKey({ key: jwk, format: "jwk" }) };
}

function parseProof(text: string): { index: bigint; path: Uint8Array[]; note: string } {
  const wrong = (): Unproven => new Unproven("the receipt's proof is malformed");
  const most = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX;
  const end = text.indexOf("\n\n", HEADER.length);
  if (utf8(text).length > most || !text.startsWith(HEADER) || end < 0) throw wrong();
  const lines = text.slice(HEADER.length, end).split("\n");
  const note = text.slice(end + 2);
  if (note === "") throw wrong();
  if (lines[0]?.startsWith("extra ") === true) {
    const extra = strictBase64((lines.shift() ?? "").slice("extra ".length));
    if (extra.length > EXTRA_BYTES_MAX) throw wrong();
  }
  const [first, ...hashes] = lines;
  if (first?.startsWith("index ") !== true || hashes.length > PATH_MAX) throw wrong();
  const path = hashes.map(strictBase64);
  if (path.some((node) => node.length !== HASH_BYTES)) throw wrong();
  return { index: decimal(first.slice("index ".length)), path, note };
}

/** The checkpoint of a note, if the log's key has signed it. */
function openCheckpoint(note: string, logKey: string): Checkpoint {
  const log = parseKey(logKey);
  const wrong = (): Unproven => new Unproven("the proof's checkpoint is malformed");
  const clean = !/[\u0000-\u0009\u000b-\u001f]/u.test(note);
  const end = note.lastIndexOf("\n\n");
  if (utf8(note).length > NOTE_BYTES_MAX || !clean || end < 0 || !note.endsWith("\n")) {
    throw wrong();
  }
  const [text, rest] = [note.slice(0, end + 1), note.slice(end + 2)];
  const signatures = rest.slice(0, -1).split("\n");
  if (rest === "" || signatures.length > SIGNATURES_MAX) throw wrong();
  // Each must be of its form, also after one that is the log's.
  const signed = signatures.map((line) => isSigned(line, text, log)).includes(true);
  if (!signed) throw new Unproven("the checkpoint is not signed by the log's key");
  const lines = text.slice(0, -1).split("\n");
  const [origin, size, hash] = lines;
  if (lines.length !== 3 || origin !== log.name || size === undefined || hash === undefined) {
    throw new Unproven("the checkpoint is of another log than the key");
  }
  const root = strictBase64(hash);
  if (root.length !== HASH_BYTES) throw wrong();
  return { origin, size: decimal(size), root };
}

/** Whether a line is a signature of the log. One of the log that is not valid is an error. */
function isSigned(line: string, text: string, log: LogKey): boolean {
  const wrong = (): Unproven => new Unproven("the proof's checkpoint is malformed");
  const [mark, signer, ...payload] = line.split(" ");
  if (mark !== "\u2014" || signer === undefined || !isKeyName(signer) || payload.length !== 1) {
    throw wrong();
  }
  const data = strictBase64(payload[0] ?? "");
  if (data.length < 5) throw wrong();
  if (signer !== log.name || !same(data.subarray(0, 4), log.id)) return false;
  if (!verify(null, utf8(text), log.key, data.subarray(4))) {
    throw new Unproven("the checkpoint's signature by the log's key is not valid");
  }
  return true;
}

/** RFC 9162, section 2.1.3.2. */
function verifyInclusion(
  index: bigint,
  checkpoint: Checkpoint,
  leaf: Uint8Array,
  path: Uint8Array[],
): void {
  if (index >= checkpoint.size) throw new Unproven("the proof's entry is outside the tree");
  const short = (): Unproven => new Unproven("the proof has not as many hashes as it should");
  let [node, last, value] = [index, checkpoint.size - 1n, leaf];
  for (const sibling of path) {
    if (last === 0n) throw short();
    if ((node & 1n) === 1n || node === last) {
      value = sha256(Uint8Array.of(1), sibling, value);
      while ((node & 1n) === 0n && node !== 0n) [node, last] = [node >> 1n, last >> 1n];
    } else value = sha256(Uint8Array.of(1), value, sibling);
    [node, last] = [node >> 1n, last >> 1n];
  }
  if (last !== 0n) throw short();
  if (!same(value, checkpoint.root)) throw new Unproven("the proof leads to another root");
}

/** What answer and receipt of a write must say. */
export interface Expected {
  readonly domicile: string;
  readonly subject: string;
  readonly collection: string;
  readonly key: string;
  readonly version: bigint;
  /** Undefined: it is not known here. */
  readonly body: Uint8Array | undefined;
  readonly kinds: readonly string[];
  /** Whether a later write destroys the opening. */
  readonly superseded: boolean;
}

/** What a caller knows of a write besides the request. */
export interface Known {
  /** The tenant whose write it is: a receipt that names another one is refused. */
  readonly tenant: string | undefined;
  /** It cannot have been done before: its request id was drawn just now, and it was sent once. */
  readonly first: boolean;
}

/**
 * The entry of a write's receipt. Undefined: the write is said to have been done before, and to be
 * superseded since, so that its opening is gone; reading the record settles that. Throws
 * {@link Unproven}.
 */
export function checkWrite(
  receipt: Receipt | undefined,
  replayed: boolean,
  expected: Expected,
  known: Known,
): Entry | undefined {
  if (replayed && known.first) {
    throw new Unproven("a write that was sent for the first time is answered as done before");
  }
  const missing = (): Unproven => new Unproven("the answer to a write has no receipt");
  if (receipt === undefined) throw missing();
  const parts = receipt.origin.split("/");
  const [, region, , period = ""] = parts;
  const numbered = /^[0-9]+$/.test(period) && Number(period) <= U32_MAX;
  if (parts.length !== 4 || parts.includes("") || !numbered) {
    throw new Unproven("the receipt's origin is malformed");
  }
  if (region !== expected.domicile) {
    throw new Unproven("the receipt is of another region than the domicile");
  }
  if (receipt.entry.length + receipt.opening.length + receipt.statement.length === 0) {
    if (replayed && expected.superseded) return undefined;
    throw missing();
  }
  const { entry, statement } = checkReceipt(receipt, expected.body);
  const about =
    statement.subject === expected.subject &&
    statement.collection === expected.collection &&
    (entry.collection ?? "") === expected.collection &&
    statement.key === expected.key &&
    statement.version === expected.version;
  if (!about) throw new Unproven("the answer or its receipt is about another write");
  if (known.tenant !== undefined && statement.tenant !== known.tenant) {
    throw new Unproven("the receipt is about another tenant's write");
  }
  if (!expected.kinds.includes(entry.kind)) {
    throw new Unproven("the receipt's entry is of another kind than the write");
  }
  return entry;
}
