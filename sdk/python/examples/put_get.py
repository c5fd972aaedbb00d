"""Puts a record and reads it back, for threads and for asyncio.

Usage: put_get.py [GATEWAY]    (http://127.0.0.1:7400, as `bailiwick dev` listens)
"""

import asyncio
import sys

from bailiwick import AsyncClient, Client, Conflict, Evidence, NotFound, Put

GATEWAY = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7400"
GERMAN = [Evidence("residence", "DE"), Evidence("citizenship", "DE")]


def threads() -> None:
    with Client(GATEWAY) as client:
        put = client.put(
            "python-a", "profiles", "main", b"hello", evidence=GERMAN, create_subject=True
        )
        got = client.get("python-a", "profiles", "main", domicile=put.domicile)
        print(put.domicile, got.version, got.body, put.entry.kind)
        try:
            client.put(
                "python-a", "profiles", "main", b"?", domicile=put.domicile, if_version=7
            )
        except Conflict as error:
            print(error.reason, "-", error.help)
        deleted = client.delete("python-a", "profiles", "main", domicile=put.domicile)
        print("deleted as version", deleted.version)
        try:
            client.get("python-a", "profiles", "main", domicile=put.domicile)
        except NotFound as error:
            print(error.reason)


async def tasks() -> None:
    async with AsyncClient(GATEWAY) as client:
        ruling = await client.resolve("profiles", GERMAN)
        print("would go to", ruling.placement.region)
        puts = [
            Put(f"python-{n}", "profiles", "main", b"hello", evidence=tuple(GERMAN),
                create_subject=True)
            for n in range(10)
        ]
        done = await client.batch_put(puts)
        print("batch:", sorted({one.domicile for one in done}), len(done))


threads()
asyncio.run(tasks())
