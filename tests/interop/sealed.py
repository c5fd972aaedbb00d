"""Sealed bodies and bodies under the caller's own keys with the Python client, sync and asyncio, against a real
deployment whose map wants the bodies of payments sealed.

Usage: sealed.py GATEWAY AUTHORITIES TOKEN_FILE LOG_KEY IDENTITY
"""

import asyncio
import sys
from pathlib import Path

from bailiwick import (
    AsyncClient,
    CallerKey,
    CallerKeys,
    Client,
    Evidence,
    NotOpened,
    NotSealed,
    Put,
    Refused,
    Tls,
    new_request_id,
    verify_receipt,
)

GATEWAY, AUTHORITIES, TOKEN, LOG_KEY, IDENTITY = sys.argv[1:]
GERMAN = (Evidence("residence", "DE"), Evidence("citizenship", "DE"))
OWN = CallerKeys(CallerKey("2026-12", bytes(range(32))))
PERSON = "sealed-1"


def settings(**other):
    tls = Tls(authorities=Path(AUTHORITIES).read_bytes())
    return {"token": Path(TOKEN), "tls": tls, "tenant": "sample"} | other


def raises(kind, call, reason=None):
    try:
        call()
    except kind as error:
        assert reason is None or error.reason == reason, error
        return
    raise AssertionError(f"{kind.__name__}: it was done")


def read(client, key):
    return client.get(PERSON, "payments", key, domicile="eu-fra", purpose="a test")


def bodies(records):
    return {record.key: record.body for record in records}


def threads():
    with Client(GATEWAY, **settings()) as plain:
        raises(
            Refused,
            lambda: plain.put(PERSON, "payments", "card", b"x", evidence=GERMAN,
                              create_subject=True),
            "TRANSIT_NOT_SEALED",
        )
    with Client(GATEWAY, **settings(identities=[IDENTITY])) as client:
        request_id = new_request_id()

        def put():
            return client.put(PERSON, "payments", "card", b"one", evidence=GERMAN,
                              create_subject=True, proof=True, request_id=request_id)

        done = put()
        assert (done.domicile, done.entry.kind) == ("eu-fra", "PLACE")
        verify_receipt(done.receipt, LOG_KEY, b"one")
        assert put().replayed
        assert read(client, "card").body == b"one"
        client.patch(PERSON, "payments", "card", domicile="eu-fra", body=b"two")
        assert read(client, "card").body == b"two"
        puts = [Put(PERSON, "payments", key, key.encode(), "eu-fra") for key in ("a", "b")]
        assert [end.version for end in client.batch_put(puts)] == [1, 1]
        names = [(PERSON, "eu-fra", "payments", key) for key in ("a", "b", "none")]
        ends = client.batch_get(names, purpose="a test")
        assert [end.body for end in ends[:2]] == [b"a", b"b"]
        assert ends[2].reason == "RECORD_NOT_FOUND"
        raises(NotSealed, lambda: client.upload(PERSON, "payments", "film", b"x", domicile="eu-fra"))
        whole = {"card": b"two", "a": b"a", "b": b"b"}
        for choice in ({"subject": PERSON, "domicile": "eu-fra"}, {"regions": ["eu-fra"]}):
            asked = {"view": "whole", "purpose": "a test", "page_size": 2} | choice
            assert bodies(client.list("payments", **asked)) == whole
            with Client(GATEWAY, **settings()) as plain:
                raises(Refused, lambda: list(plain.list("payments", **asked)), "TRANSIT_NOT_SEALED")
        assert bodies(client.scan("payments", region="eu-fra", purpose="a test")) == whole
        told, *records = client.export_subject(PERSON, domicile="eu-fra", purpose="asked")
        assert [held.collection for held in told.collections] == ["payments"]
        assert bodies(records) == whole
        with Client(GATEWAY, **settings()) as plain:
            raises(Refused, lambda: list(plain.export_subject(PERSON, domicile="eu-fra",
                                                              purpose="asked")),
                   "TRANSIT_NOT_SEALED")
        raises(NotSealed, lambda: list(client.scan("payments", region="ru-msk", purpose="a test")))
        listed = client.list("payments", subject=PERSON, domicile="eu-fra", purpose="a test")
        assert {record.key for record in listed} == {"card", "a", "b"}
        raises(NotSealed, lambda: client.put("sealed-2", "payments", "x", b"x", domicile="ru-msk"))
        raises(NotSealed, lambda: client.put("sealed-2", "payments", "x", b"x"))


def own_keys():
    with Client(GATEWAY, **settings(identities=[IDENTITY], own_keys=OWN)) as client:
        done = client.put(PERSON, "payments", "own", b"own-marker", domicile="eu-fra", proof=True)
        assert read(client, "own").body == b"own-marker"
        raises(NotOpened, lambda: read(client, "card"))
    with Client(GATEWAY, **settings(identities=[IDENTITY])) as client:
        stored = read(client, "own").body
        assert b"own-marker" not in stored
        verify_receipt(done.receipt, LOG_KEY, stored)


async def tasks():
    async with AsyncClient(GATEWAY, **settings(identities=[IDENTITY], own_keys=OWN)) as client:
        done = await client.put(PERSON, "payments", "task", b"three", domicile="eu-fra")
        assert done.version == 1
        got = await client.get(PERSON, "payments", "task", domicile="eu-fra", purpose="a test")
        assert got.body == b"three"
        await client.patch(PERSON, "payments", "task", domicile="eu-fra", body=b"four")
        ends = await client.batch_put([Put(PERSON, "payments", "t2", b"five", "eu-fra")])
        assert ends[0].version == 1
        names = [(PERSON, "eu-fra", "payments", key) for key in ("task", "t2")]
        ends = await client.batch_get(names, purpose="a test")
        assert [end.body for end in ends] == [b"four", b"five"]
    async with AsyncClient(GATEWAY, **settings(identities=[IDENTITY])) as client:
        asked = {"subject": PERSON, "domicile": "eu-fra", "view": "whole", "purpose": "a test"}
        listed = bodies([record async for record in client.list("payments", **asked)])
        assert listed["card"] == b"two" and len(listed) == 6
        scan = client.scan("payments", region="eu-fra", purpose="a test")
        assert bodies([record async for record in scan]) == listed
        export = client.export_subject(PERSON, domicile="eu-fra", purpose="asked")
        assert bodies([part async for part in export][1:]) == listed


threads()
own_keys()
asyncio.run(tasks())
print("sealed as documented")
