"""Pages of 1,000 over many records of three regions while writers run, by the Python client: nothing comes
twice, and nothing is missing that was there throughout. `tests/long/pages` runs it.

Usage: pages.py GATEWAY RECORDS ROUNDS
"""

import asyncio
import sys
import time
from collections import Counter

from bailiwick import AsyncClient, Evidence, Put

GATEWAY, RECORDS, ROUNDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
COUNTRIES = {"DE": "eu-fra", "RU": "ru-msk", "KZ": "kz-ala"}
REGIONS = list(COUNTRIES.values())
PAGE, BATCH, WRITERS = 1_000, 500, 8
#: Records of each person.
OF_PERSON = 20


def person(n):
    country = list(COUNTRIES)[n % len(COUNTRIES)]
    evidence = (Evidence("residence", country), Evidence("citizenship", country))
    return f"p-{n}", COUNTRIES[country], evidence


def stays(n, body=b"x"):
    """The record of that number, which is never deleted."""
    subject, _, evidence = person(n // OF_PERSON)
    return Put(subject, "profiles", f"stay-{n}", body, evidence=evidence, create_subject=True,
               attributes={"age": n % 100})


async def store(client):
    places = iter(range(0, RECORDS, BATCH))

    async def some():
        for first in places:
            puts = [stays(n) for n in range(first, min(first + BATCH, RECORDS))]
            for end in await client.batch_put(puts):
                if isinstance(end, Exception):
                    raise end

    await asyncio.gather(*(some() for _ in range(WRITERS)))


async def write(client, number, done):
    """Records that come and go, and new versions of those that stay."""
    n = number
    while not done.is_set():
        n += WRITERS
        subject, domicile, evidence = person(n % (RECORDS // OF_PERSON))
        key = f"go-{number}-{n % 40}"
        await client.put(subject, "profiles", key, b"y", evidence=evidence, create_subject=True,
                         attributes={"age": n % 100})
        again = stays(n * 7 % RECORDS, b"%d" % n)
        await client.put(again.subject, again.collection, again.key, again.body,
                         domicile=person(n * 7 % RECORDS // OF_PERSON)[1],
                         attributes=again.attributes)
        await client.delete(subject, "profiles", key, domicile=domicile)
    return n // WRITERS


async def read(client, order, filter, wanted):
    """One list to its end: the keys that stay, each once; and how many pages it took."""
    listing = client.list("profiles", regions=REGIONS, order_by=order, filter=filter,
                          page_size=PAGE, view="attributes")
    found, last = Counter(), None
    async for record in listing:
        if order.startswith("age"):
            age = record.attributes["age"] * (-1 if order.endswith("desc") else 1)
            assert last is None or last <= age, f"{last} before {age}"
            last = age
        if record.key.startswith("stay-"):
            found[record.key] += 1
    twice = [key for key, times in found.items() if times > 1]
    assert not twice, f"{len(twice)} records came twice, such as {twice[0]}"
    missing = wanted - set(found)
    assert not missing, f"{len(missing)} records are missing, such as {next(iter(missing))}"
    assert not listing.unreachable and not listing.withheld


async def main():
    async with AsyncClient(GATEWAY, deadline=120.0, attempts=100) as client:
        began = time.monotonic()
        await store(client)
        print(f"{RECORDS} records of {RECORDS // OF_PERSON} people stored in "
              f"{time.monotonic() - began:.0f} s", flush=True)
        done = asyncio.Event()
        writers = [asyncio.create_task(write(client, n, done)) for n in range(WRITERS)]
        every = {f"stay-{n}" for n in range(RECORDS)}
        young = {f"stay-{n}" for n in range(RECORDS) if n % 100 < 30}
        for order, filter, wanted in (
            ("", "", every), ("age", "", every), ("age desc", "", every),
            ("", "age < 30", young), ("age", "age < 30", young),
        ):
            for _ in range(ROUNDS):
                began = time.monotonic()
                await read(client, order, filter, wanted)
                print(f"order {order or 'any'}, filter {filter or 'none'}: {len(wanted)} once each,"
                      f" {time.monotonic() - began:.1f} s", flush=True)
        done.set()
        turns = sum(await asyncio.gather(*writers))
        print(f"pages: nothing twice, nothing missing; {turns} turns of writers meanwhile")


asyncio.run(main())
