// A social network over two countries: profiles, posts, messages between people, and a search that holds
// no more than ids.
//
// Each person's records lie in the person's own region. A message lies in its receiver's inbox and
// names its sender; the laws of both decide whether it may. The search keeps words and the names of
// records, and reads what it shows from the region, where each reader's right is judged again.
//
// Usage: node dist/examples/social.js [GATEWAY]    (http://127.0.0.1:7400, as `bailiwick dev` listens)

import { BailiwickError, Client, evidence, records, Refused } from "../src/index.js";

const client = new Client(process.argv[2] ?? "http://127.0.0.1:7400");
const PEOPLE = { anna: "DE", bert: "DE", aigul: "KZ" };
const POSTS = {
  anna: ["the lake is frozen", "snow over the city"],
  bert: ["a walk around the lake"],
  aigul: ["apples from the garden by the lake"],
};
type Name = keyof typeof PEOPLE;
const NAMES = Object.keys(PEOPLE) as Name[];
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);
const livesIn = (country: string) => [
  evidence("residence", country),
  evidence("citizenship", country),
];

/** Where each person's records lie. The network remembers it with the id. */
const homes = new Map<Name, string>();
const subject = (name: Name) => ({ id: `net-${name}`, domicile: homes.get(name) ?? "" });

/** Profiles: the evidence decides the region. */
async function signUp(): Promise<void> {
  for (const name of NAMES) {
    const profile = await client.put({
      subject: subject(name),
      collection: "profiles",
      key: "profile",
      body: bytes(name),
      evidence: livesIn(PEOPLE[name]),
      createSubject: true,
    });
    homes.set(name, profile.subject?.domicile ?? "");
    console.log("profile:", name, "in", homes.get(name));
  }
}

/** Posts, each in the region of its author, all at once. */
async function post(): Promise<void> {
  const puts = NAMES.flatMap((name) =>
    POSTS[name].map((body, n) => {
      const names = { subject: subject(name), collection: "profiles", key: `post-${n}` };
      return { ...names, body: bytes(body) };
    }),
  );
  const done = await client.batchPut(puts);
  console.log("posts:", done.filter((one) => !(one instanceof BailiwickError)).length);
}

interface Found {
  subject: { id: string; domicile: string };
  key: string;
}

/** The search: from a word to subject, domicile and key. No text stays in it. */
async function buildSearch(): Promise<Map<string, Found[]>> {
  const index = new Map<string, Found[]>();
  for (const name of NAMES) {
    const of = { collection: "profiles", subject: subject(name), view: records.RecordView.WHOLE };
    for await (const { key, body } of client.list(of)) {
      if (!key.startsWith("post-")) continue;
      for (const word of new Set(text(body).split(" "))) {
        index.set(word, [...(index.get(word) ?? []), { subject: subject(name), key }]);
      }
    }
  }
  return index;
}

async function search(index: Map<string, Found[]>, word: string): Promise<void> {
  const found = index.get(word) ?? [];
  const results = await client.batchGet(
    found.map((one) => ({ ...one, collection: "profiles" })),
  );
  const texts = results.flatMap((one) => (one instanceof BailiwickError ? [] : [text(one.body)]));
  console.log(`search ${word}:`, texts.sort().join(" | "));
}

/** A message: in the inbox of its receiver, about its sender too. */
async function write(sender: Name, receiver: Name, key: string, body: string): Promise<void> {
  try {
    await client.put({
      subject: subject(receiver),
      collection: "messages",
      key,
      body: bytes(body),
      participants: [subject(sender)],
    });
    console.log("message:", sender, "to", receiver, "in", homes.get(receiver));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const { conflicting } = error.metadata;
    console.log("message:", sender, "to", receiver, error.reason, conflicting);
  }
}

/** What each has got, and what names each elsewhere. */
async function inboxes(): Promise<void> {
  for (const name of NAMES) {
    const of = { collection: "messages", subject: subject(name), view: records.RecordView.WHOLE };
    const got = [];
    for await (const record of client.list(of)) got.push(text(record.body));
    const sent = await client.count({
      collection: "messages",
      regions: [...new Set(homes.values())],
      participant: subject(name),
    });
    console.log("inbox:", name, "got", got.sort().join(" | "), "and sent", Number(sent.count));
  }
}

await signUp();
await post();
await search(await buildSearch(), "lake");
// The first message of each fixes which laws hold for the inbox: what is known of the person.
for (const name of NAMES) {
  const names = { subject: subject(name), collection: "messages", key: "welcome" };
  await client.put({ ...names, body: bytes("welcome") });
}
await write("anna", "bert", "m-1", "hello bert");
await write("bert", "anna", "m-2", "hello anna");
await write("anna", "aigul", "m-3", "hello aigul");
await write("aigul", "anna", "m-4", "hello from afar");
await inboxes();
await client.delete({ subject: subject("bert"), collection: "profiles", key: "post-0" });
await search(await buildSearch(), "lake");
