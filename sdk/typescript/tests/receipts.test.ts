// The receipts' formats, against the golden vectors of the repository, and every way in which an answer
// may not prove its write. `npm test` runs it after the build.

import assert from "node:assert/strict";
import { createHash, createHmac, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { checkDelete, checkCreate, checkPut, checkUpload } from "../src/checks.js";
import { Unproven } from "../src/errors.js";
import { UploadSpecSchema } from "../src/gen/bailiwick/v1/attachments_pb.js";
import { type Receipt, ReceiptSchema } from "../src/gen/bailiwick/v1/ledger_pb.js";
import {
  DeleteRecordRequestSchema,
  DeleteRecordResponseSchema,
  PutRecordRequestSchema,
  PutRecordResponseSchema,
} from "../src/gen/bailiwick/v1/records_pb.js";
import {
  CreateSubjectRequestSchema,
  CreateSubjectResponseSchema,
} from "../src/gen/bailiwick/v1/subjects_pb.js";
import { decodeEntry, decodeStatement, sha256, verifyReceipt } from "../src/receipts.js";

const golden = (name: string): string => {
  const folder = "../../../../crates/ledger/tests/golden/";
  return readFileSync(new URL(folder + name, import.meta.url), "utf8");
};
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex");
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const refused = (call: () => unknown, what?: RegExp): void => {
  assert.throws(call, (error) => error instanceof Unproven && (what?.test(error.message) ?? true));
};

/** The golden entries, each with what it says. */
function entries(): { data: Uint8Array; words: string[] }[] {
  const lines = golden("entries.txt").split("\n").filter((line) => line !== "");
  return Array.from({ length: lines.length / 2 }, (_, n) => {
    const [code = "", shown = ""] = [lines[2 * n], lines[2 * n + 1]];
    return { data: bytes(code), words: shown.trim().split(/\s+/) };
  });
}

/** The golden statements, by their fields. */
function statements(): Map<string, string>[] {
  return golden("statements.txt").trim().split("\n\n").map((block) => {
    const pairs = block.split("\n").map((line): [string, string] => {
      const [name = "", value = ""] = line.split(" ");
      return [name, value];
    });
    return new Map(pairs);
  });
}

test("golden entries", () => {
  const all = entries();
  assert.ok(all.length > 20);
  for (const { data, words } of all) {
    const entry = decodeEntry(data);
    const said = new Map(words.slice(2).map((word): [string, string] => {
      const at = word.indexOf("=");
      return [word.slice(0, at), word.slice(at + 1)];
    }));
    assert.equal(entry.kind, words[0]);
    assert.equal(entry.collection, said.get("collection"));
    assert.equal(entry.jurisdictions.join(","), said.get("jurisdictions") ?? "");
    assert.equal(entry.statutes.join(","), said.get("statutes") ?? "");
    assert.equal(entry.clauses.join(","), said.get("clauses") ?? "");
    assert.equal(entry.evidenceKinds.join(","), said.get("evidence") ?? "");
    assert.equal(entry.commitment && hex(entry.commitment), said.get("commitment"));
    const cut = data.subarray(0, -1);
    const [longer, newer, other] = [Uint8Array.of(...data, 0), data.slice(), data.slice()];
    newer[0] = 2;
    other[6] = 0xff;
    for (const bad of [cut, longer, newer, other]) refused(() => decodeEntry(bad));
  }
});

test("golden statements", () => {
  const all = statements();
  assert.ok(all.length > 5);
  for (const said of all) {
    const field = (name: string): string => said.get(name) ?? "";
    const data = bytes(field("statement"));
    const statement = decodeStatement(data);
    for (const name of ["tenant", "subject", "collection", "key"] as const) {
      assert.equal(hex(utf8(statement[name])), field(name));
    }
    assert.equal(statement.version, BigInt(field("version")));
    assert.equal(hex(statement.digest), field("digest"));
    const content = sha256(bytes(field("opening")), bytes(field("body")));
    assert.equal(hex(content), field("digest"));
    refused(() => decodeStatement(Uint8Array.of(...data, 0)));
  }
});

/** A log of some entries that signs its tree, by the words of RFC 6962 alone. */
class Log {
  readonly vkey: string;
  readonly #id: Buffer;
  readonly #key = createPrivateKey({
    // PKCS #8 around the 32 bytes 0 to 31.
    key: Buffer.concat([
      Buffer.from("302e020100300506032b657004220420", "hex"),
      Buffer.from(Array.from({ length: 32 }, (_, n) => n)),
    ]),
    format: "der",
    type: "pkcs8",
  });

  constructor(
    readonly name: string,
    readonly entries: Uint8Array[],
  ) {
    const { x = "" } = createPublicKey(this.#key).export({ format: "jwk" });
    const typed = Buffer.concat([Buffer.of(1), Buffer.from(x, "base64url")]);
    this.#id = createHash("sha256").update(`${name}\n`).update(typed).digest().subarray(0, 4);
    this.vkey = `${name}+${this.#id.toString("hex")}+${typed.toString("base64")}`;
  }

  #root(first: number, end: number): Uint8Array {
    if (end - first === 1) {
      return sha256(Uint8Array.of(0), this.entries[first] ?? new Uint8Array());
    }
    const middle = first + split(end - first);
    return sha256(Uint8Array.of(1), this.#root(first, middle), this.#root(middle, end));
  }

  #path(index: number, first: number, end: number): Uint8Array[] {
    if (end - first === 1) return [];
    const middle = first + split(end - first);
    return index < middle
      ? [...this.#path(index, first, middle), this.#root(middle, end)]
      : [...this.#path(index, middle, end), this.#root(first, middle)];
  }

  proof(index: number): string {
    const size = this.entries.length;
    const base64 = (data: Uint8Array): string => Buffer.from(data).toString("base64");
    const text = `${this.name}\n${size}\n${base64(this.#root(0, size))}\n`;
    const signature = Buffer.concat([this.#id, sign(null, Buffer.from(text), this.#key)]);
    const path = this.#path(index, 0, size).map((node) => `${base64(node)}\n`).join("");
    const head = `c2sp.org/tlog-proof@v1\nindex ${index}\n${path}\n`;
    return `${head}${text}\n\u2014 ${this.name} ${base64(signature)}\n`;
  }
}

const split = (count: number): number => 2 ** Math.ceil(Math.log2(count) - 1);

/** A golden statement, a PLACE entry that commits to it, and their receipt. */
function placed(): { receipt: Receipt; body: Uint8Array; entry: Uint8Array } {
  const said = statements()[0] ?? new Map<string, string>();
  const field = (name: string): Uint8Array => bytes(said.get(name) ?? "");
  const entry = Uint8Array.of(1, 3, 0, 0, 0, 7, 4, 0, ...field("commitment"));
  const receipt = create(ReceiptSchema, {
    origin: "sample/ru/s1/1", entry, opening: field("opening"), statement: field("statement"),
  });
  return { receipt, body: field("body"), entry };
}

test("proofs of every place in trees of every size", () => {
  const { receipt, body, entry } = placed();
  const some = entries().map(({ data }) => data);
  for (let size = 1; size < 20; size++) {
    for (let index = 0; index < size; index++) {
      const all = [...some, ...some].slice(0, size);
      all[index] = entry;
      const log = new Log("sample/ru/s1/1", all);
      [receipt.index, receipt.tlogProof] = [BigInt(index), log.proof(index)];
      const { entry: found, checkpoint } = verifyReceipt(receipt, log.vkey, body);
      assert.deepEqual([found.kind, checkpoint.size], ["PLACE", BigInt(size)]);
    }
  }
});

test("a proof that is altered in any place is refused", () => {
  const { receipt, body, entry } = placed();
  const all = entries().map(({ data }) => data);
  all[4] = entry;
  const log = new Log("sample/ru/s1/1", all);
  const good = log.proof(4);
  [receipt.index, receipt.tlogProof] = [4n, good];
  verifyReceipt(receipt, log.vkey, body);
  const not = (changes: Partial<Receipt>, vkey = log.vkey, of = body): void => {
    refused(() => verifyReceipt({ ...receipt, ...changes }, vkey, of));
  };
  for (let at = 0; at < good.length; at++) {
    const other = good[at] === "A" ? "B" : "A";
    not({ tlogProof: good.slice(0, at) + other + good.slice(at + 1) });
  }
  not({ tlogProof: "" });
  not({}, log.vkey, Uint8Array.of(...body, 33));
  not({ index: 3n });
  not({ origin: "sample/ru/s1/2" });
  not({ opening: new Uint8Array(32) });
  not({}, new Log("sample/ru/s1/2", [entry]).vkey);
  not({}, log.vkey.replace("+", "-"));
  const weak = Buffer.concat([Buffer.of(1, 1), Buffer.alloc(31)]);
  const id = createHash("sha256").update("sample/ru/s1/1\n").update(weak).digest("hex").slice(0, 8);
  not({}, `sample/ru/s1/1+${id}+${weak.toString("base64")}`);
});

// === answers to writes ===

const BODY = utf8("content");
const KINDS = new Map([["READ", 8], ["PLACE", 3], ["REPLACE", 4], ["DELETE", 5], ["CREATE", 20]]);
const ANY = { tenant: undefined, first: false };

interface Written {
  subject: string;
  collection: string;
  key: string;
  version: bigint;
  body: Uint8Array;
  kind: string;
  tenant: string;
}

const WRITTEN: Written = {
  subject: "p-1", collection: "profiles", key: "main", version: 3n, body: BODY, kind: "PLACE",
  tenant: "sample",
};

/** A receipt that is sound in itself, of a log of eu-fra. */
function receiptOf(changes: Partial<Written> = {}): Receipt {
  const of = { ...WRITTEN, ...changes };
  const opening = new Uint8Array(32).fill(7);
  const u32 = (n: number): Buffer => {
    const data = Buffer.alloc(4);
    data.writeUInt32BE(n);
    return data;
  };
  const text = (value: string): Buffer => Buffer.concat([u32(utf8(value).length), utf8(value)]);
  const version = Buffer.alloc(8);
  version.writeBigUInt64BE(of.version);
  const names = [of.tenant, of.subject, of.collection, of.key].map(text);
  const digest = sha256(opening, of.body);
  const statement = Buffer.concat([Buffer.of(1), ...names, version, digest]);
  const mac = createHmac("sha256", "bailiwick placement v1").update(opening).update(statement);
  const name = utf8(of.collection);
  const head = [1, KINDS.get(of.kind) ?? 0, 0, 0, 0, 1, 4, 2, name.length];
  const entry = Uint8Array.of(...head, ...name, ...mac.digest());
  const origin = "sample/eu-fra/s1/1";
  return create(ReceiptSchema, { origin, index: 4n, entry, opening, statement });
}

const put = (changes: object = {}) =>
  create(PutRecordRequestSchema, {
    subject: { id: "p-1" }, collection: "profiles", key: "main", body: BODY, ...changes,
  });
const answer = (receipt: Receipt | undefined, changes: object = {}) =>
  create(PutRecordResponseSchema, {
    subject: { id: "p-1", domicile: "eu-fra" },
    version: 3n,
    ...(receipt && { receipt }),
    ...changes,
  });

test("an honest receipt holds", () => {
  const known = { tenant: "sample", first: true };
  assert.equal(checkPut(put(), answer(receiptOf()), known).entry?.kind, "PLACE");
  const asked = put({ subject: { id: "p-1", domicile: "eu-fra" } });
  assert.equal(checkPut(asked, answer(receiptOf()), ANY).entry?.kind, "PLACE");
});

test("a receipt of another write, region, kind or tenant does not", () => {
  const not = (receipt: Receipt | undefined, what: RegExp, changes = {}, request = put()): void => {
    refused(() => checkPut(request, answer(receipt, changes), ANY), what);
  };
  for (const other of [
    { subject: "p-2" }, { key: "other" }, { collection: "payments" }, { version: 4n },
  ]) {
    not(receiptOf(other), /another write/);
  }
  not(receiptOf({ body: utf8("contents") }), /another content/);
  not(receiptOf(), /no version/, { version: 0n });
  not(receiptOf(), /another subject/, { subject: { id: "p-2", domicile: "eu-fra" } });
  not(receiptOf(), /another region/, { subject: { id: "p-1", domicile: "ru-msk" } });
  not(receiptOf(), /another region/, {}, put({ subject: { id: "p-1", domicile: "ru-msk" } }));
  for (const origin of ["", "eu-fra", "sample/eu-fra/s1", "sample/eu-fra//1", "a/eu-fra/s/+1"]) {
    not({ ...receiptOf(), origin }, /origin is malformed/);
  }
  not({ ...receiptOf(), origin: "sample/ru-msk/s1/1" }, /another region/);
  not(receiptOf({ kind: "READ" }), /another kind/);
  not(receiptOf({ kind: "REPLACE", version: 1n }), /another kind/, { version: 1n });
  not(receiptOf({ kind: "REPLACE" }), /another kind/, {}, put({ ifVersion: 0n }));
  assert.equal(checkPut(put(), answer(receiptOf({ kind: "REPLACE" })), ANY).entry?.kind, "REPLACE");
  const known = { tenant: "other", first: false };
  refused(() => checkPut(put(), answer(receiptOf()), known), /another tenant/);
});

test("only a retry may lack its receipt, and is not proven then", () => {
  const bare = create(ReceiptSchema, { origin: "sample/eu-fra/s1/1", index: 4n });
  refused(() => checkPut(put(), answer(bare), ANY), /no receipt/);
  refused(() => checkPut(put(), answer(undefined), ANY), /no receipt/);
  assert.equal(checkPut(put(), answer(bare, { replayed: true }), ANY).entry, undefined);
  const first = { tenant: undefined, first: true };
  refused(() => checkPut(put(), answer(receiptOf(), { replayed: true }), first), /first time/);
  const dry = put({ validateOnly: true });
  assert.equal(checkPut(dry, answer(undefined), ANY).entry, undefined);
});

test("deletes, creations and uploads are held to the same", async () => {
  const subject = { id: "p-1", domicile: "eu-fra" };
  const names = { subject, collection: "profiles", key: "main" };
  const deleted = (kind: string, body: Uint8Array) => {
    const receipt = receiptOf({ kind, body });
    const done = create(DeleteRecordResponseSchema, { version: 3n, receipt });
    return checkDelete(create(DeleteRecordRequestSchema, names), done, ANY);
  };
  assert.equal(deleted("DELETE", new Uint8Array()).entry?.kind, "DELETE");
  refused(() => deleted("PLACE", new Uint8Array()), /another kind/);
  refused(() => deleted("DELETE", BODY), /another content/);

  const created = (version: bigint, replayed = false) => {
    const receipt = receiptOf({ kind: "CREATE", key: "", version, body: new Uint8Array() });
    const given = replayed ? { ...receipt, entry: new Uint8Array(), opening: new Uint8Array(),
      statement: new Uint8Array() } : receipt;
    const done = create(CreateSubjectResponseSchema, { subject, receipt: given, replayed });
    const asked = { subject: { id: "p-1" }, collection: "profiles" };
    return checkCreate(create(CreateSubjectRequestSchema, asked), done, ANY);
  };
  assert.equal(created(0n).entry?.kind, "CREATE");
  refused(() => created(1n), /another write/);
  refused(() => created(0n, true), /no receipt/);

  const spec = create(UploadSpecSchema, { ...names, size: 7n });
  const hashed = (content: Uint8Array) => async (prefix: Uint8Array) => sha256(prefix, content);
  const done = await checkUpload(spec, answer(receiptOf()), ANY, hashed(BODY));
  assert.equal(done.entry?.kind, "PLACE");
  const other = checkUpload(spec, answer(receiptOf()), ANY, hashed(utf8("contents")));
  await assert.rejects(other, Unproven);
});
