// Puts a record and reads it back.
//
// Usage: node dist/examples/put_get.js [GATEWAY]    (http://127.0.0.1:7400, as `bailiwick dev` listens)

import { BailiwickError, Client, Conflict, evidence, NotFound } from "../src/index.js";

const gateway = process.argv[2] ?? "http://127.0.0.1:7400";
const client = new Client(gateway);
const german = [evidence("residence", "DE"), evidence("citizenship", "DE")];
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const named = (domicile = "") => ({
  subject: { id: "typescript-a", domicile },
  collection: "profiles",
  key: "main",
});

const put = await client.put({
  ...named(),
  body: new TextEncoder().encode("hello"),
  evidence: german,
  createSubject: true,
});
const domicile = put.subject?.domicile ?? "";
const got = await client.get(named(domicile));
console.log(domicile, got.version, text(got.body));
console.log("the log has", put.entry?.kind, put.entry?.jurisdictions.join(","));

try {
  await client.put({ ...named(domicile), ifVersion: 7n });
} catch (error) {
  if (!(error instanceof Conflict)) throw error;
  console.log(error.reason, "-", error.help);
}

const listed = [];
for await (const record of client.list({ collection: "profiles", subject: named(domicile).subject })) {
  listed.push(record.key);
}
console.log("listed:", listed.join(" "));

const deleted = await client.delete(named(domicile));
console.log("deleted as version", deleted.version);
try {
  await client.get(named(domicile));
} catch (error) {
  if (!(error instanceof NotFound)) throw error;
  console.log(error.reason);
}

const ruling = await client.resolve("profiles", german);
if (ruling.outcome.case === "placement") console.log("would go to", ruling.outcome.value.region);
const puts = Array.from({ length: 10 }, (_, n) => ({
  subject: { id: `typescript-${n}` },
  collection: "profiles",
  key: "main",
  body: new TextEncoder().encode("hello"),
  evidence: german,
  createSubject: true,
}));
const done = await client.batchPut(puts);
const stored = done.filter((one) => !(one instanceof BailiwickError));
console.log("batch:", stored.length);

// Puts that are made at the same time travel on a few streams.
const busy = new Client(gateway, { lanes: 2 });
const putAtOnce = (count: number) =>
  Promise.all(
    puts.flatMap((put) =>
      Array.from({ length: count / puts.length }, (_, n) => busy.put({ ...put, key: `k-${n}` })),
    ),
  );
for (let round = 0; busy.openLanes === 0 && round < 100; round++) await putAtOnce(20);
console.log("at once:", (await putAtOnce(200)).length, "on lanes:", busy.openLanes > 0);
busy.close();

const film = new Uint8Array((1 << 20) + 5).fill(7);
const stay = { ...named(domicile), key: "film" };
const attached = await client.attachments.upload(stay, film);
const { info, data } = await client.attachments.download({ ...stay, offset: 1n << 20n });
let bytes = 0;
for await (const part of data) bytes += part.length;
console.log("attachment:", attached.version, info.size, bytes);
