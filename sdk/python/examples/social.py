"""A social network over two countries: profiles, posts, messages between people, and a search that holds
no more than ids.

Each person's records lie in the person's own region. A message lies in its receiver's inbox and
names its sender; the laws of both decide whether it may. The search keeps words and the names of records,
and reads what it shows from the region, where each reader's right is judged again.

Usage: social.py [GATEWAY]    (http://127.0.0.1:7400, as `bailiwick dev` listens)
"""

import asyncio
import sys
from collections import defaultdict

from bailiwick import AsyncClient, Client, Evidence, NotAllowedNow, Put

GATEWAY = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7400"
PEOPLE = {"anna": "DE", "bert": "DE", "aigul": "KZ"}
POSTS = {
    "anna": ["the lake is frozen", "snow over the city"],
    "bert": ["a walk around the lake"],
    "aigul": ["apples from the garden by the lake"],
}


def lives_in(country):
    return [Evidence("residence", country), Evidence("citizenship", country)]


def sign_up(client):
    """Profiles: the evidence decides the region, which the network remembers with the id."""
    homes = {}
    for name, country in PEOPLE.items():
        profile = client.put(
            f"net-{name}", "profiles", "profile", name.title().encode(),
            evidence=lives_in(country), create_subject=True,
        )
        homes[name] = profile.domicile
        print("profile:", name, "in", profile.domicile)
    return homes


def post(client, homes):
    """Posts, each in the region of its author, all at once."""
    puts = [
        Put(f"net-{name}", "profiles", f"post-{n}", text.encode(), homes[name])
        for name, texts in POSTS.items()
        for n, text in enumerate(texts)
    ]
    done = client.batch_put(puts)
    print("posts:", sum(one.version > 0 for one in done))


def build_search(client, homes):
    """The search: from a word to subject, domicile and key. No text stays in it."""
    index = defaultdict(set)
    for name in PEOPLE:
        posts = client.list("profiles", subject=f"net-{name}", domicile=homes[name], view="whole")
        for record in posts:
            if record.key.startswith("post-"):
                for word in record.body.decode().split():
                    index[word].add((record.subject, record.domicile, record.key))
    return index


def search(client, index, word):
    found = sorted(index[word])
    records = client.batch_get([(who, home, "profiles", key) for who, home, key in found])
    texts = sorted(one.body.decode() for one in records)
    print(f"search {word}:", " | ".join(texts))


def write(client, homes, sender, receiver, key, text):
    """A message: in the inbox of its receiver, about its sender too."""
    try:
        client.put(
            f"net-{receiver}", "messages", key, text.encode(), domicile=homes[receiver],
            participants=[(f"net-{sender}", homes[sender])],
        )
        print("message:", sender, "to", receiver, "in", homes[receiver])
    except NotAllowedNow as refused:
        print("message:", sender, "to", receiver, refused.reason, refused.metadata["conflicting"])


async def inboxes(homes):
    """What each has got, and what names each elsewhere."""
    async with AsyncClient(GATEWAY) as client:
        for name in PEOPLE:
            own = client.list(
                "messages", subject=f"net-{name}", domicile=homes[name], view="whole"
            )
            got = sorted([record.body.decode() async for record in own])
            sent = await client.count(
                "messages", regions=sorted(set(homes.values())),
                participant=(f"net-{name}", homes[name]),
            )
            print("inbox:", name, "got", " | ".join(got), "and sent", sent.count)


with Client(GATEWAY) as client:
    homes = sign_up(client)
    post(client, homes)
    index = build_search(client, homes)
    search(client, index, "lake")
    # The first message of each fixes which laws hold for the inbox: what is known of the person.
    for name in PEOPLE:
        client.put(f"net-{name}", "messages", "welcome", b"welcome", domicile=homes[name])
    write(client, homes, "anna", "bert", "m-1", "hello bert")
    write(client, homes, "bert", "anna", "m-2", "hello anna")
    write(client, homes, "anna", "aigul", "m-3", "hello aigul")
    write(client, homes, "aigul", "anna", "m-4", "hello from afar")
    asyncio.run(inboxes(homes))
    client.delete("net-bert", "profiles", "post-0", domicile=homes["bert"])
    search(client, build_search(client, homes), "lake")
