// What the client makes of answers, against a gateway in this process that gives what a test wants.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http2";
import { type AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import {
  Altered,
  BailiwickError,
  Client,
  NotFound,
  type Options,
  Refused,
  Unavailable,
} from "../src/index.js";
import { Attachments } from "../src/gen/bailiwick/v1/attachments_pb.js";
import { Records } from "../src/gen/bailiwick/v1/records_pb.js";
import { Subjects } from "../src/gen/bailiwick/v1/subjects_pb.js";

/** A field of a protobuf message that has a length. */
function field(number: number, value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  assert.ok(bytes.length < 128);
  return Uint8Array.of((number << 3) | 2, bytes.length, ...bytes);
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** A refusal as a gateway gives it. */
function refusal(
  code: Code,
  reason: string,
  metadata: [string, string][] = [],
  path?: string,
  domain = "bailiwick.v1",
): ConnectError {
  const pairs = metadata.map(([key, value]) => field(3, joined(field(1, key), field(2, value))));
  const info = joined(field(1, reason), field(2, domain), ...pairs);
  const error = new ConnectError("no", code);
  error.details = [{ type: "google.rpc.ErrorInfo", value: info }];
  if (path !== undefined) {
    const violation = field(1, joined(field(1, path), field(2, "it is wrong")));
    error.details.push({ type: "google.rpc.BadRequest", value: violation });
  }
  return error;
}

async function client(
  of: TestContext,
  routes: (router: ConnectRouter) => void,
  options: Options = {},
): Promise<Client> {
  const server = createServer(connectNodeAdapter({ routes }));
  server.on("session", (session) => of.after(() => session.destroy()));
  of.after(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, options);
}

const NAMES = { subject: { id: "anna", domicile: "ru-msk" }, collection: "profiles", key: "main" };

test("a list says what it lacks, and can be gone through again", async (of) => {
  const missing = [{ region: "ru-msk", reason: "INDEX_BUILDING" }];
  const lists = await client(of, (router) =>
    router.service(Records, {
      list({ pageToken }) {
        const lost = { unreachable: ["ru-msk"], missing, withheld: 1n };
        if (pageToken !== "") return { records: [{ key: "c" }], ...lost };
        return { records: [{ key: "a" }, { key: "b" }], nextPageToken: "more", ...lost };
      },
    }),
  );
  const found = lists.list({ collection: "profiles", regions: ["eu-fra", "ru-msk"] });
  for (let n = 0; n < 2; n++) {
    const keys = [];
    for await (const { key } of found) keys.push(key);
    assert.deepEqual(keys, ["a", "b", "c"]);
    assert.deepEqual([...found.missing], [["ru-msk", "INDEX_BUILDING"]]);
    assert.equal(found.withheld, 2n);
  }
});

test("a scan says what it lacks", async (of) => {
  const own = await client(of, (router) =>
    router.service(Records, {
      async *scan() {
        yield { records: [{ key: "a" }], withheld: 1n };
        yield { records: [{ key: "b" }], withheld: 2n };
      },
    }),
  );
  const scan = own.scan({ collection: "profiles", region: "eu-fra", purpose: "a test" });
  const keys = [];
  for await (const { key } of scan) keys.push(key);
  assert.deepEqual(keys, ["a", "b"]);
  assert.equal(scan.withheld, 3n);
});

test("a refusal names the field, and only our domain has reasons", async (of) => {
  let domain = "bailiwick.v1";
  const own = await client(of, (router) =>
    router.service(Records, {
      get() {
        throw refusal(Code.NotFound, "RECORD_NOT_FOUND", [["cure", "look"]], "key", domain);
      },
    }),
  );
  const refused = await own.get(NAMES).catch((error: unknown) => error);
  assert.ok(refused instanceof NotFound);
  const { reason, field: path, help } = refused;
  assert.deepEqual([reason, path, help], ["RECORD_NOT_FOUND", "key", "look"]);
  domain = "another.example";
  const foreign = await own.get(NAMES).catch((error: unknown) => error);
  assert.ok(foreign instanceof BailiwickError);
  assert.equal(foreign.reason, undefined);
});

test("a stream that is reset is a connection that broke, and no conflict", async (of) => {
  let asked = 0;
  const own = await client(of, (router) =>
    router.service(Records, {
      get() {
        asked++;
        if (asked === 1) throw new ConnectError("gone", Code.Aborted);
        return { key: "main" };
      },
    }),
  );
  assert.equal((await own.get(NAMES)).key, "main");
  assert.equal(asked, 2);
});

test("what is too large is not sent, and not taken for a limit that passes", async (of) => {
  let asked = 0;
  const own = await client(of, (router) =>
    router.service(Records, {
      put() {
        asked++;
        return {};
      },
    }),
  );
  const large = { ...NAMES, body: new Uint8Array(35 << 20) };
  const error = await own.put(large).catch((cause: unknown) => cause);
  assert.ok(error instanceof BailiwickError && !(error instanceof Unavailable), String(error));
  assert.equal(error.retryAfterMs, undefined);
  assert.equal(asked, 0);
});

test("a call follows a subject to a home that is listed, once, and to no other", async (of) => {
  const asked: (string | undefined)[] = [];
  const routes = (router: ConnectRouter): unknown =>
    router.service(Records, {
      get({ subject }) {
        asked.push(subject?.domicile);
        if (subject?.domicile === "eu-fra") return { key: "here" };
        throw refusal(Code.FailedPrecondition, "SUBJECT_MOVED", [["region", "eu-fra"]]);
      },
    });
  const follows = await client(of, routes, { homes: ["eu-fra"], attempts: 1 });
  assert.equal((await follows.get(NAMES)).key, "here");
  assert.equal(NAMES.subject.domicile, "ru-msk");
  const stays = await client(of, routes, { homes: ["kz-ala"] });
  await assert.rejects(stays.get(NAMES), Refused);
  assert.deepEqual(asked, ["ru-msk", "eu-fra", "ru-msk"]);
});

test("what may succeed later is sent again, and each item has its outcome", async (of) => {
  const sent: string[][] = [];
  const own = await client(of, (router) =>
    router.service(Records, {
      batchGet({ requests }) {
        sent.push(requests.map(({ key }) => key));
        return {
          results: requests.map(({ key }) => {
            if (key === "busy" && sent.length === 1) return failed(Code.Unavailable, "SHARD_BUSY");
            if (key === "none") return failed(Code.NotFound, "RECORD_NOT_FOUND");
            return { outcome: { case: "record" as const, value: { key } } };
          }),
        };
      },
    }),
  );
  const [a, busy, none] = await own.batchGet(
    ["a", "busy", "none"].map((key) => ({ ...NAMES, key })),
  );
  assert.ok(a !== undefined && "key" in a && a.key === "a");
  assert.ok(busy !== undefined && "key" in busy && busy.key === "busy");
  assert.ok(none instanceof NotFound && none.reason === "RECORD_NOT_FOUND");
  assert.deepEqual(sent, [["a", "busy", "none"], ["busy"]]);
});

function failed(code: Code, reason: string) {
  const value = joined(field(1, reason), field(2, "bailiwick.v1"));
  const details = [{ typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value }];
  return { outcome: { case: "error" as const, value: { code, message: "no", details } } };
}

test("a token that ran out is renewed once", async (of) => {
  const tokens: (string | null)[] = [];
  let token = 0;
  const own = await client(
    of,
    (router) =>
      router.service(Records, {
        get(_, { requestHeader }) {
          tokens.push(requestHeader.get("authorization"));
          if (tokens.length === 2) return { key: "main" };
          token = 1;
          throw refusal(Code.Unauthenticated, "IDENTITY_INVALID");
        },
      }),
    { token: () => `t${token}`, attempts: 1 },
  );
  assert.equal((await own.get(NAMES)).key, "main");
  assert.deepEqual(tokens, ["Bearer t0", "Bearer t1"]);
  await assert.rejects(own.get(NAMES), BailiwickError);
  assert.equal(tokens.length, 3, "the same token is not sent again");
});

test("a watch goes on with its cursor, and ends with a refusal", async (of) => {
  const cursors: string[] = [];
  const own = await client(of, (router) =>
    router.service(Records, {
      async *watch({ cursor }) {
        cursors.push(cursor);
        if (cursors.length > 2) throw refusal(Code.FailedPrecondition, "CURSOR_EXPIRED");
        yield { cursor: `c${cursors.length}` };
      },
    }),
  );
  const answers: string[] = [];
  const watching = async (): Promise<void> => {
    const watch = own.watch({ collection: "profiles", region: "eu-fra", cursor: "c0" });
    for await (const { cursor } of watch) answers.push(cursor);
  };
  await assert.rejects(watching(), Refused);
  assert.deepEqual(answers, ["c1", "c2"]);
  assert.deepEqual(cursors, ["c0", "c1", "c2"]);
});

test("a download goes on where it was cut, and is compared with its hash", async (of) => {
  const body = Buffer.from(Array.from({ length: 200 }, (_, n) => n));
  const asked: [bigint, bigint, string][] = [];
  let sha256 = createHash("sha256").update(body).digest();
  const own = await client(of, (router) =>
    router.service(Attachments, {
      async *download({ offset, length, etag }) {
        asked.push([offset, length, etag]);
        yield { part: { case: "attachment", value: { size: 200n, etag: "e", sha256 } } };
        const end = length === 0n ? 200 : Number(offset + length);
        const until = Math.min(end, Number(offset) + 90);
        yield { part: { case: "data", value: body.subarray(Number(offset), until) } };
        if (until < end) throw new ConnectError("gone", Code.Unavailable);
      },
      stat() {
        asked.push([0n, 0n, "stat"]);
        if (asked.length === 1) throw new ConnectError("gone", Code.Unavailable);
        return { size: 200n };
      },
    }),
  );
  const parts = async (offset: bigint, length: bigint): Promise<Buffer> => {
    const got = [];
    const { info, data } = await own.attachments.download({ ...NAMES, offset, length });
    assert.equal(info.size, 200n);
    for await (const part of data) got.push(part);
    return Buffer.concat(got);
  };
  assert.equal((await own.attachments.stat(NAMES)).size, 200n);
  asked.splice(0);
  assert.deepEqual(await parts(0n, 0n), body);
  assert.deepEqual(asked.splice(0), [[0n, 0n, ""], [90n, 0n, "e"], [180n, 0n, "e"]]);
  assert.deepEqual(await parts(20n, 100n), body.subarray(20, 120));
  assert.deepEqual(asked.splice(0), [[20n, 100n, ""], [110n, 10n, "e"]]);
  sha256 = Buffer.alloc(32, 7);
  await assert.rejects(parts(0n, 0n), Altered);
  // Of a part there is no hash.
  assert.equal((await parts(0n, 50n)).length, 50);
});

test("an export that is not whole is an error", async (of) => {
  const own = await client(of, (router) =>
    router.service(Subjects, {
      async *export({ purpose }) {
        yield { part: { case: "subject", value: { territory: "DE" } } };
        yield { part: { case: "record", value: { key: "a" } } };
        const recordCount = { whole: 1n, lacks: 2n }[purpose];
        if (recordCount !== undefined) yield { part: { case: "end", value: { recordCount } } };
      },
    }),
  );
  const exported = async (purpose: string): Promise<string[]> => {
    const parts = [];
    const { subject } = NAMES;
    for await (const part of own.subjects.export({ subject, purpose })) parts.push(part.case);
    return parts;
  };
  assert.deepEqual(await exported("whole"), ["subject", "record"]);
  for (const purpose of ["lacks", "cut"]) await assert.rejects(exported(purpose), Unavailable);
});

test("a change of a subject without its receipt is not believed", async (of) => {
  const own = await client(of, (router) =>
    router.service(Subjects, {
      block: ({ validateOnly }) => ({ replayed: validateOnly }),
      erase: () => ({ recordCount: 1n }),
    }),
  );
  const what = { subject: NAMES.subject, reason: "a test" };
  const dry = await own.subjects.block({ ...what, validateOnly: true });
  assert.equal(dry.entry, undefined);
  await assert.rejects(own.subjects.block(what), { name: "Unproven" });
  await assert.rejects(own.subjects.erase(what), { name: "Unproven" });
});

test("an address that is plaintext to another machine is refused", () => {
  for (const address of ["http://gateway.example:7400", "http://10.0.0.1", "ftp://127.0.0.1"]) {
    assert.throws(() => new Client(address, { token: "t" }), TypeError, address);
  }
  for (const address of ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"]) {
    new Client(address).close();
  }
  new Client("https://gateway.example").close();
});
