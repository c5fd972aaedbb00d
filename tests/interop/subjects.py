"""The Python client's calls about subjects as a whole, expiry, deletions in batches and puts that are stored
all together or not at all, against a real gateway whose callers may erase.

Usage: subjects.py GATEWAY
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import bailiwick
from bailiwick import AsyncClient, Client, Delete, Evidence, Put

GATEWAY = sys.argv[1]
GERMAN = [Evidence("residence", "DE"), Evidence("citizenship", "DE")]
HERE = {"domicile": "eu-fra"}
WHY = {"reason": "a test", **HERE}
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def refused(kind, call, reason):
    try:
        call()
    except kind as error:
        assert getattr(error, "reason", None) == reason, error
        return error
    raise AssertionError(f"{reason}: it was done")


def records(own):
    names = ("sub-1", "profiles", "main")
    put = own.put(*names, b"one", create_subject=True, evidence=GERMAN, expire_time=LATER)
    assert put.ruling.placement.region == "eu-fra" and not put.unreachable
    assert own.get(*names, **HERE).expire_time == LATER
    touched = own.touch(*names, if_version=1, **HERE)
    assert (touched.version, touched.entry.kind) == (2, "REPLACE")
    assert own.get(*names, **HERE).expire_time is None
    refused(bailiwick.Conflict, lambda: own.touch(*names, if_version=1, **HERE), "VERSION_MISMATCH")
    [dated] = own.batch_put([Put("sub-1", "profiles", "dated", b"", "eu-fra", expire_time=LATER)])
    assert dated.version == 1 and own.get("sub-1", "profiles", "dated", **HERE).expire_time == LATER

    puts = [Put("sub-1", "profiles", f"all-{n}", b"x", "eu-fra") for n in range(3)]
    assert [done.entry.kind for done in own.batch_put(puts, atomic=True)] == ["PLACE"] * 3
    fails = [Put("sub-1", "profiles", f"none-{n}", b"x", "eu-fra", if_version=n) for n in range(3)]
    error = refused(bailiwick.Conflict, lambda: own.batch_put(fails, atomic=True), "VERSION_MISMATCH")
    assert error.field == "requests[1].if_version", error.field
    refused(bailiwick.NotFound, lambda: own.get("sub-1", "profiles", "none-0", **HERE),
            "RECORD_NOT_FOUND")
    deletes = [Delete("sub-1", "profiles", key, "eu-fra", if_version=version)
               for key, version in (("all-0", 7), ("all-1", 1), ("gone", 1))]
    *_, absent = ends = own.batch_delete(deletes)
    assert [getattr(end, "reason", None) for end in ends] == [
        "VERSION_MISMATCH", None, "RECORD_NOT_FOUND"]
    assert ends[1].entry.kind == "DELETE" and absent.field == "key" and absent.help


def subjects(own):
    held = own.subject("sub-1", purpose="asked by the person", **HERE)
    assert held.territory == "DE" and held.collections[0].record_count == 4
    stays = own.reassess_subject("sub-1", evidence=[Evidence("residence", "FR")], **WHY)
    assert stays.answer.stands and stays.entry.kind == "REASSESS"
    goes = own.reassess_subject("sub-1", validate_only=True,
                                evidence=[Evidence("residence", "KZ")], **WHY)
    assert not goes.answer.stands and goes.entry is None
    first, *rest = own.export_subject("sub-1", purpose="asked by the person", **HERE)
    assert first.territory == "DE" and len(rest) == 4
    assert {record.key for record in rest} == {"main", "dated", "all-0", "all-2"}
    assert own.rotate_subject_key("sub-1", **WHY).entry.kind == "KEY"

    blocked = own.block_subject("sub-1", LATER, **WHY)
    assert blocked.entry.kind == "BLOCK"
    assert own.block_subject("sub-1", LATER, **WHY).answer.replayed
    refused(bailiwick.NotAllowedNow, lambda: own.get("sub-1", "profiles", "main", **HERE),
            "SUBJECT_BLOCKED")
    assert own.unblock_subject("sub-1", **WHY).entry.kind == "UNBLOCK"

    refused(bailiwick.InvalidRequest, lambda: own.relocate_subject("sub-1", "eu-fra", **WHY),
            "FIELD_INVALID")
    refused(bailiwick.NotFound, lambda: own.operation("sub-1", **HERE), "RECORD_NOT_FOUND")
    assert not own.operations(**HERE).operations
    refused(bailiwick.NotFound, lambda: own.cancel_operation("sub-1", **WHY), "RECORD_NOT_FOUND")
    refused(bailiwick.PermissionDenied, lambda: own.adjudicate_subject(
        "sub-1", "eu-fra", **WHY), "NOT_PERMITTED")

    own.put("sub-1", "messages", "m", b"x", **HERE)
    part = own.erase_subject("sub-1", collection="messages", ground="demand", **WHY)
    assert (part.answer.record_count, part.entry.kind) == (1, "ERASE")
    dry = own.erase_subject("sub-1", validate_only=True, **WHY)
    assert (dry.answer.record_count, dry.entry) == (4, None)
    request_id = bailiwick.new_request_id()
    erased = own.erase_subject("sub-1", request_id=request_id, proof=True, **WHY)
    assert erased.entry.kind == "ERASE" and erased.answer.receipt.tlog_proof
    again = own.erase_subject("sub-1", request_id=request_id, **WHY)
    assert again.answer.replayed and again.entry is None
    refused(bailiwick.NotAllowedNow, lambda: own.get("sub-1", "profiles", "main", **HERE),
            "SUBJECT_ERASED")


async def tasks():
    async with AsyncClient(GATEWAY, tenant="sample") as own:
        names = ("sub-2", "profiles", "main")
        await own.put(*names, b"one", create_subject=True, evidence=GERMAN)
        assert (await own.touch(*names, expire_time=LATER, **HERE)).version == 2
        parts = [part async for part in own.export_subject("sub-2", purpose="asked", **HERE)]
        assert parts[1].body == b"one" and parts[1].expire_time == LATER
        [gone] = await own.batch_delete([Delete(*names, "eu-fra")])
        assert gone.version == 3
        assert (await own.erase_subject("sub-2", **WHY)).entry.kind == "ERASE"


with Client(GATEWAY, tenant="sample") as client:
    records(client)
    subjects(client)
asyncio.run(tasks())
print("subjects as documented")
