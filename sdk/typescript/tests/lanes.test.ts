// Lanes against a gateway that does what a test tells it. `npm test` runs it after the build. Nothing here
// waits for a time: what the gateway has got decides.

import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo } from "node:net";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";

import { Client, Conflict, type Options, Unavailable } from "../src/index.js";
import { ReceiptSchema } from "../src/gen/bailiwick/v1/ledger_pb.js";
import {
  type PutRecordRequest,
  PutRecordRequestSchema,
  PutRecordResponseSchema,
  StreamPutRequestSchema,
  type StreamPutResponse,
  StreamPutResponseSchema,
} from "../src/gen/bailiwick/v1/records_pb.js";
import { StatusSchema } from "../src/gen/google/rpc/status_pb.js";
import { LIMITS } from "../src/lanes.js";
import { sha256 } from "../src/receipts.js";

const PATIENCE = 180_000;
// On a busy machine a lane opens late and has nothing to do for long.
[LIMITS.open, LIMITS.idle, LIMITS.life] = [PATIENCE, PATIENCE, 10 * PATIENCE];
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** google.rpc.ErrorInfo: a reason, and its domain. */
function infoOf(reason: string): Uint8Array {
  const domain = utf8("bailiwick.v1");
  return Uint8Array.of(10, reason.length, ...utf8(reason), 18, domain.length, ...domain);
}

/** Waits for what must come. */
async function until(what: () => boolean, why: string): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (!what()) {
    assert.ok(Date.now() < end, why);
    await sleep(1);
  }
}

/** The answer of an honest shard that has stored a put as version 1. */
function answerTo(put: PutRecordRequest) {
  const opening = new Uint8Array(32);
  const u32 = (n: number): Buffer => {
    const data = Buffer.alloc(4);
    data.writeUInt32BE(n);
    return data;
  };
  const names = ["sample", put.subject?.id ?? "", put.collection, put.key].flatMap((name) => [
    u32(name.length), Buffer.from(name),
  ]);
  const version = Buffer.alloc(8);
  version.writeBigUInt64BE(1n);
  const digest = sha256(opening, put.body);
  const statement = Buffer.concat([Buffer.of(1), ...names, version, digest]);
  const mac = createHmac("sha256", "bailiwick placement v1").update(opening).update(statement);
  const collection = utf8(put.collection);
  const head = [1, 3, 0, 0, 0, 7, 4, 2, collection.length];
  const entry = Uint8Array.of(...head, ...collection, ...mac.digest());
  const origin = "sample/eu-fra/s1/1";
  return create(PutRecordResponseSchema, {
    subject: { id: put.subject?.id ?? "", domicile: "eu-fra" },
    version: 1n,
    receipt: create(ReceiptSchema, { origin, index: 4n, entry, opening, statement }),
  });
}

function done(index: bigint, put: PutRecordRequest): StreamPutResponse {
  const outcome = { case: "done" as const, value: answerTo(put) };
  return create(StreamPutResponseSchema, { index, requestId: put.requestId, outcome });
}

/** What a stream answers when it has got one more put. Undefined: it breaks. */
type OnStream = (index: bigint, put: PutRecordRequest) => StreamPutResponse[] | undefined;

/** A message as gRPC frames it. */
function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The messages of a stream. */
async function* messagesOf(stream: ServerHttp2Stream): AsyncGenerator<Buffer, void> {
  let bytes = Buffer.alloc(0);
  // Who reads no more has not reset the stream.
  const parts: AsyncIterable<Buffer> = stream.iterator({ destroyOnReturn: false });
  for await (const data of parts) {
    bytes = Buffer.concat([bytes, data]);
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      const end = 5 + bytes.readUInt32BE(1);
      yield bytes.subarray(5, end);
      bytes = bytes.subarray(end);
    }
  }
}

/** Answers puts as calls once they are let through, and on streams as it is told. */
class Gateway {
  /** Ids of requests that came as calls, and on streams; the token of each stream. */
  readonly called: string[] = [];
  readonly streamed: string[] = [];
  readonly tokens: (string | undefined)[] = [];
  /** Streams that have ended. */
  ended = 0;
  /** Whether calls are answered, or wait. */
  letCalls = false;
  /** What streams end with that the test ends. */
  breaks: Record<string, string> = { "grpc-status": "14" };
  url = "";
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #server = createServer();

  constructor(readonly onStream: OnStream) {
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
    this.#server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      stream.on("error", () => {});
      const whole = headers[":path"] === "/bailiwick.v1.Records/StreamPut";
      const answered = whole ? this.#stream(stream, headers) : this.#call(stream);
      // A client that is gone has reset its stream.
      answered.catch((error: unknown) => stream.destroyed || stream.destroy(error as Error));
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
  }

  get connections(): number {
    return this.#sessions.size;
  }

  /** Begins an answer, which ends with the trailers that are given. */
  #respond(stream: ServerHttp2Stream): (trailers: Record<string, string>) => void {
    let last: Record<string, string> = {};
    stream.on("wantTrailers", () => stream.sendTrailers(last));
    const head = { ":status": 200, "content-type": "application/grpc+proto" };
    stream.respond(head, { waitForTrailers: true });
    return (trailers) => {
      last = trailers;
      stream.end();
    };
  }

  async #call(stream: ServerHttp2Stream): Promise<void> {
    for await (const message of messagesOf(stream)) {
      const put = fromBinary(PutRecordRequestSchema, message);
      this.called.push(put.requestId);
      await until(() => this.letCalls || stream.destroyed, "the test lets calls through");
      const end = this.#respond(stream);
      stream.write(framed(toBinary(PutRecordResponseSchema, answerTo(put))));
      end({ "grpc-status": "0" });
      return;
    }
  }

  async #stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    this.tokens.push(headers.authorization);
    stream.on("close", () => this.ended++);
    const end = this.#respond(stream);
    let index = 0n;
    for await (const message of messagesOf(stream)) {
      const { write, timeout } = fromBinary(StreamPutRequestSchema, message);
      assert.ok(write.case === "put" && timeout !== undefined);
      assert.ok(durationMs(timeout) > 0 && durationMs(timeout) <= PATIENCE);
      this.streamed.push(write.value.requestId);
      const answers = this.onStream(index++, write.value);
      if (answers === undefined) return end(this.breaks);
      for (const answer of answers) stream.write(framed(toBinary(StreamPutResponseSchema, answer)));
    }
    end({ "grpc-status": "0" });
  }
}

/** What ends with the tests. */
const open: (() => void)[] = [];
after(() => {
  for (const close of open.reverse()) close();
});

async function started(onStream: OnStream = (n, put) => [done(n, put)]): Promise<Gateway> {
  const gateway = new Gateway(onStream);
  await gateway.start();
  open.push(() => gateway.stop());
  return gateway;
}

function clientOf(gateway: Gateway, options: Options = {}): Client {
  const settings = { deadlineMs: PATIENCE, tenant: "sample", lanes: 2, ...options };
  const client = new Client(gateway.url, settings);
  open.push(() => client.close());
  return client;
}

const putOf = (n: number, requestId: string = randomUUID()) => ({
  subject: { id: `p-${n}` }, collection: "profiles", key: "main", body: utf8(`${n}`), requestId,
});

/** What became of a put. */
type End = Awaited<ReturnType<Client["put"]>> | Error;

/** So many puts at once after two that go as calls, and wait there until a lane is open. */
async function together(
  gateway: Gateway,
  client: Client,
  count: number,
): Promise<{ ids: string[]; ends: Promise<End>[] }> {
  const ids = Array.from({ length: count + 2 }, () => randomUUID() as string);
  const put = (id: string, n: number): Promise<End> =>
    client.put(putOf(n, id)).catch((error: unknown) => error as Error);
  const before = gateway.called.length;
  gateway.letCalls = false;
  const first = ids.slice(0, 2).map(put);
  // The second has met the first: a lane is opened.
  await until(() => gateway.called.length === before + 2, "two puts come as calls");
  await until(() => client.openLanes > 0, "a lane is open");
  const rest = ids.slice(2).map((id, n) => put(id, n + 2));
  return { ids, ends: [...first, ...rest] };
}

const versions = async (ends: Promise<End>[]): Promise<(bigint | string)[]> =>
  (await Promise.all(ends)).map((end) => (end instanceof Error ? String(end) : end.version));

const ones = (count: number): bigint[] => Array.from({ length: count }, () => 1n);

/** Sets a limit for the time of one test. */
async function withLimit(limit: keyof typeof LIMITS, value: number, run: () => Promise<void>) {
  const before = LIMITS[limit];
  LIMITS[limit] = value;
  try {
    await run();
  } finally {
    LIMITS[limit] = before;
  }
}

test("a put alone is a call, and those that meet share a stream", async () => {
  const gateway = await started();
  const client = clientOf(gateway);
  gateway.letCalls = true;
  for (const n of [0, 1, 2]) await client.put(putOf(n));
  assert.deepEqual([gateway.called.length, gateway.tokens.length], [3, 0]);
  const { ids, ends } = await together(gateway, client, 50);
  await until(() => gateway.streamed.length === 50, "the others come on the stream");
  gateway.letCalls = true;
  const written = await Promise.all(ends);
  written.forEach((end, n) => {
    assert.ok(!(end instanceof Error), String(end));
    assert.deepEqual([end.subject?.id, end.entry?.kind], [`p-${n}`, "PLACE"]);
  });
  assert.deepEqual([...gateway.streamed].sort(), ids.slice(2).sort());
  // One that would hold up the others goes as a call.
  const large = { ...putOf(1), body: new Uint8Array(LIMITS.putBytes) };
  await Promise.all([client.put(large), client.put({ ...large, requestId: randomUUID() })]);
  assert.deepEqual([gateway.streamed.length, gateway.called.length], [50, 7]);
});

test("without lanes each put is a call", async () => {
  const gateway = await started();
  const client = clientOf(gateway, { lanes: 0 });
  const ends = Array.from({ length: 8 }, (_, n) => client.put(putOf(n)));
  await until(() => gateway.called.length === 8, "all come as calls");
  gateway.letCalls = true;
  assert.deepEqual(await versions(ends), ones(8));
  assert.deepEqual(gateway.tokens, []);
});

test("what a broken stream had is sent again as a call under the same id", async () => {
  const wrong = create(StreamPutResponseSchema, { index: 99n, requestId: "?" });
  for (const broken of [() => undefined, () => [wrong]]) {
    const gateway = await started(broken);
    const { ids, ends } = await together(gateway, clientOf(gateway), 5);
    gateway.letCalls = true;
    assert.deepEqual(await versions(ends), ones(7));
    // Each came as a call, once, and no id was drawn for it.
    assert.deepEqual([...gateway.called].sort(), ids.sort());
  }
});

test("a refusal is that of its put alone", async () => {
  const gateway = await started((index, put) => {
    if (put.subject?.id !== "p-3") return [done(index, put)];
    const info = {
      typeUrl: "type.googleapis.com/google.rpc.ErrorInfo",
      value: infoOf("VERSION_MISMATCH"),
    };
    const value = create(StatusSchema, { code: Code.Aborted, message: "no", details: [info] });
    const outcome = { case: "error" as const, value };
    return [create(StreamPutResponseSchema, { index, requestId: put.requestId, outcome })];
  });
  const { ends } = await together(gateway, clientOf(gateway), 5);
  gateway.letCalls = true;
  const [refused] = await Promise.all(ends.splice(3, 1));
  assert.ok(refused instanceof Conflict, String(refused));
  assert.equal(refused.reason, "VERSION_MISMATCH");
  assert.deepEqual(await versions(ends), ones(6));
  assert.equal(gateway.called.length, 2);
});

test("a lane carries one token", async () => {
  await withLimit("openEvery", 0, async () => {
    const gateway = await started();
    let token = "one";
    const client = clientOf(gateway, { token: () => token });
    for (const one of ["one", "two"]) {
      token = one;
      const before = gateway.tokens.length;
      const put = (n: number): Promise<unknown> => client.put(putOf(n));
      gateway.letCalls = false;
      const called = gateway.called.length;
      const ends = [put(0), put(1)];
      await until(() => gateway.called.length === called + 2, "no lane has this token");
      await until(() => gateway.tokens.length > before && client.openLanes > 0, "a lane is open");
      const streamed = gateway.streamed.length;
      ends.push(put(2), put(3));
      await until(() => gateway.streamed.length === streamed + 2, "puts go on it");
      gateway.letCalls = true;
      await Promise.all(ends);
    }
    assert.deepEqual(gateway.tokens, ["Bearer one", "Bearer two"]);
  });
});

test("a lane whose token ran out sends its puts as calls, with the token of now", async () => {
  const info = infoOf("IDENTITY_INVALID");
  // google.rpc.Status: code, and one detail.
  const url = utf8("type.googleapis.com/google.rpc.ErrorInfo");
  const any = Uint8Array.of(10, url.length, ...url, 18, info.length, ...info);
  const status = Buffer.from(Uint8Array.of(8, 16, 26, any.length, ...any));
  const gateway = await started(() => undefined);
  gateway.breaks = {
    "grpc-status": "16", "grpc-status-details-bin": status.toString("base64"),
  };
  const { ids, ends } = await together(gateway, clientOf(gateway, { attempts: 1 }), 3);
  gateway.letCalls = true;
  assert.deepEqual(await versions(ends), ones(5));
  assert.deepEqual([...gateway.called].sort(), ids.sort());
});

test("a put waits for room", async () => {
  let held: [bigint, PutRecordRequest][] = [];
  let most = 0;
  const gateway = await started((index, put) => {
    held.push([index, put]);
    most = Math.max(most, held.length);
    if (held.length < 4) return [];
    const ready = held;
    held = [];
    return ready.map(([index, put]) => done(index, put));
  });
  await withLimit("calls", 4, async () => {
    const { ends } = await together(gateway, clientOf(gateway), 20);
    gateway.letCalls = true;
    assert.deepEqual(await versions(ends), ones(22));
  });
  assert.deepEqual([gateway.streamed.length, most], [20, 4]);
});

test("a put that is not answered in time leaves its lane, which ends", async () => {
  const gateway = await started(() => []);
  const client = clientOf(gateway, { deadlineMs: 2_000 });
  const { ends } = await together(gateway, client, 1);
  gateway.letCalls = true;
  const late = (await Promise.all(ends))[2];
  assert.ok(late instanceof Unavailable, String(late));
  assert.equal(late.code, Code.DeadlineExceeded);
  assert.equal(client.openLanes, 0);
  // No caller waits for what is on it.
  await until(() => gateway.ended === 1, "the stream ends");
});

test("one that no put has used for long ends, and so do all of a client that is closed", async () => {
  const gateway = await started();
  const idle = clientOf(gateway);
  const first = await together(gateway, idle, 2);
  gateway.letCalls = true;
  assert.deepEqual(await versions(first.ends), ones(4));
  await withLimit("idle", 0, async () => {
    await until(() => idle.openLanes === 0 && gateway.ended === 1, "the lane ends");
  });
  const client = clientOf(gateway);
  const { ends } = await together(gateway, client, 2);
  const before = gateway.connections;
  client.close();
  gateway.letCalls = true;
  // What was on it is answered, and its connection ends.
  assert.deepEqual(await versions(ends), ones(4));
  await until(() => gateway.ended === 2 && gateway.connections < before, "the connection ends");
  assert.deepEqual(await versions([client.put(putOf(1)), client.put(putOf(2))]), ones(2));
  assert.equal(gateway.tokens.length, 2);
});
