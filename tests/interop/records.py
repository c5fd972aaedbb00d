"""Every method of Records and Attachments, its refusals and its limits, by a client in Python that is made
from our protos alone. The map has profiles with a list, a feed, `city` (exact) and `age` (range).

Usage: records.py GATEWAY STUBS
"""
import hashlib
import queue
import sys
import time
import uuid

gateway, stubs = sys.argv[1:]
sys.path.insert(0, stubs)

import grpc
from bailiwick.v1 import (
    attachments_pb2,
    attachments_pb2_grpc,
    jurisdiction_pb2,
    records_pb2 as api,
    records_pb2_grpc,
)
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2, status_pb2

WITHIN = 60
MIB = 1 << 20
channel = grpc.insecure_channel(gateway)
records = records_pb2_grpc.RecordsStub(channel)
attachments = attachments_pb2_grpc.AttachmentsStub(channel)
GERMAN = [jurisdiction_pb2.Evidence(kind=jurisdiction_pb2.RESIDENCE, value="DE")]
NEW = {"create_subject": True, "evidence": GERMAN}


def request_id():
    return str(uuid.uuid4())


def names(key="main", subject="py-a", domicile="eu-fra", collection="profiles"):
    subject = api.SubjectRef(id=subject, domicile=domicile)
    return {"subject": subject, "collection": collection, "key": key}


def put(key="main", subject="py-a", age=None, city=None, domicile="eu-fra", **other):
    attributes = []
    if age is not None:
        attributes.append(api.Attribute(name="age", integer_value=age))
    if city is not None:
        attributes.append(api.Attribute(name="city", string_value=city))
    fields = {"request_id": request_id(), "attributes": attributes}
    return api.PutRecordRequest(**(fields | names(key, subject, domicile) | other))


def says(status):
    """Reason and field of a status."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "bailiwick.v1" and info.metadata["cure"], status
    return info.reason, bad.field_violations[0].field if bad.field_violations else ""


def refused(call, *expected):
    """The call is refused with this reason and, if one is given, about this field."""
    try:
        answer = call()
        if isinstance(answer, grpc.Call):
            answer = list(answer)
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        said = says(status_pb2.Status.FromString(details))
        assert said[: len(expected)] == expected, (said, expected)
        return
    raise AssertionError(f"{expected}: it is done: {answer}")


def unary(method, message):
    return lambda: method(message, timeout=WITHIN)


def later(seconds):
    return timestamp_pb2.Timestamp(seconds=int(time.time()) + seconds)


def puts_and_gets():
    first = records.Put(put(body=b"one", domicile="", **NEW), timeout=WITHIN)
    assert (first.subject.domicile, first.version) == ("eu-fra", 1)
    second = records.Put(put(body=b"two", etag=first.etag), timeout=WITHIN)
    got = records.Get(api.GetRecordRequest(**names()), timeout=WITHIN)
    assert (got.body, got.version, got.etag) == (b"two", 2, second.etag)
    dry = records.Put(put(body=b"three", validate_only=True), timeout=WITHIN)
    assert not dry.HasField("receipt")
    for message, reason, field in [
        (put(if_version=1), "VERSION_MISMATCH", "if_version"),
        (put(etag=first.etag), "VERSION_MISMATCH", "etag"),
        (put(request_id="one"), "FIELD_INVALID", "request_id"),
        (put(request_id=""), "FIELD_MISSING", "request_id"),
        (put(key="k" * 257), "FIELD_INVALID", "key"),
        (put(collection="none"), "COLLECTION_UNKNOWN", "collection"),
        (put(subject="py-none"), "SUBJECT_UNKNOWN", "subject.id"),
        (put(body=bytes(MIB + 1)), "BODY_TOO_LARGE", "body"),
        (put(expire_time=later(-1)), "FIELD_INVALID", "expire_time"),
        (put(domicile="mars"), "DOMICILE_UNKNOWN", "subject.domicile"),
    ]:
        refused(unary(records.Put, message), reason, field)
    missing = api.GetRecordRequest(**names("none"))
    refused(unary(records.Get, missing), "RECORD_NOT_FOUND")
    got = records.Get(api.GetRecordRequest(**names()), timeout=WITHIN)
    assert got.version == 2, "a refusal has changed it"


def patches_and_touches():
    records.Put(put("card", age=30, city="Ulm", body=b"x"), timeout=WITHIN)
    changed = api.PatchRecordRequest(
        **names("card"), request_id=request_id(), if_version=1, remove_attributes=["city"],
        attributes=[api.Attribute(name="age", integer_value=31)])
    assert records.Patch(changed, timeout=WITHIN).version == 2
    # The same request again: answered, and not done twice.
    assert records.Patch(changed, timeout=WITHIN).replayed
    got = records.Get(api.GetRecordRequest(**names("card")), timeout=WITHIN)
    found = [(one.name, one.integer_value) for one in got.attributes]
    assert (got.body, found) == (b"x", [("age", 31)])
    wrong = {"request_id": request_id(), "if_version": 1}
    stale = api.PatchRecordRequest(**names("card"), **wrong, body=b"y")
    refused(unary(records.Patch, stale), "VERSION_MISMATCH", "if_version")
    nothing = api.PatchRecordRequest(**names("card"), request_id=request_id())
    refused(unary(records.Patch, nothing), "FIELD_MISSING", "body")
    unknown = api.PatchRecordRequest(
        **names("card"), request_id=request_id(),
        attributes=[api.Attribute(name="size", integer_value=1)])
    refused(unary(records.Patch, unknown), "ATTRIBUTE_UNKNOWN", "attributes[0].name")

    touch = {"request_id": request_id(), "expire_time": later(3_600)}
    touched = records.Touch(api.TouchRecordRequest(**names("card"), **touch), timeout=WITHIN)
    assert touched.version == 3
    got = records.Get(api.GetRecordRequest(**names("card")), timeout=WITHIN)
    assert got.expire_time == touch["expire_time"]
    past = {"request_id": request_id(), "expire_time": later(-1)}
    refused(unary(records.Touch, api.TouchRecordRequest(**names("card"), **past)), "FIELD_INVALID",
            "expire_time")

    gone = api.DeleteRecordRequest(**names("card"), request_id=request_id())
    assert records.Delete(gone, timeout=WITHIN).version == 4
    assert records.Delete(gone, timeout=WITHIN).replayed
    for method, message in [
        (records.Get, api.GetRecordRequest(**names("card"))),
        (records.Touch, api.TouchRecordRequest(**names("card"), request_id=request_id())),
        (records.Patch, api.PatchRecordRequest(**names("card"), request_id=request_id(), body=b"")),
        (records.Delete, api.DeleteRecordRequest(**names("card"), request_id=request_id())),
    ]:
        refused(unary(method, message), "RECORD_NOT_FOUND", "key")


def batches():
    many = [put(f"n-{n}", "py-b", n % 50, f"c{n % 3}", body=b"%d" % n, **NEW) for n in range(250)]
    done = records.BatchPut(api.BatchPutRecordsRequest(requests=many), timeout=WITHIN).results
    assert all(one.done.version == 1 for one in done), done
    mixed = api.BatchPutRecordsRequest(requests=[put("n-0", "py-b", if_version=9), put("n-1", "py-b")])
    results = records.BatchPut(mixed, timeout=WITHIN).results
    assert says(results[0].error)[0] == "VERSION_MISMATCH" and results[1].done.version == 2
    # All of them or none.
    both = [put("n-2", "py-b"), put("n-3", "py-b", if_version=9)]
    atomic = api.BatchPutRecordsRequest(requests=both, atomic=True)
    refused(unary(records.BatchPut, atomic), "VERSION_MISMATCH")
    wanted = [api.GetRecordRequest(**names(key, "py-b")) for key in ("n-2", "none", "n-3")]
    got = records.BatchGet(api.BatchGetRecordsRequest(requests=wanted), timeout=WITHIN).results
    assert [one.record.version for one in (got[0], got[2])] == [1, 1], "half of a batch was done"
    assert says(got[1].error)[0] == "RECORD_NOT_FOUND"
    gone = [api.DeleteRecordRequest(**names(f"n-{n}", "py-b"), request_id=request_id())
            for n in range(240, 250)]
    done = records.BatchDelete(api.BatchDeleteRecordsRequest(requests=gone), timeout=WITHIN).results
    assert [one.done.version for one in done] == [2] * 10
    for method, empty, full in [
        (records.BatchPut, api.BatchPutRecordsRequest(), [put("k", "py-b")]),
        (records.BatchGet, api.BatchGetRecordsRequest(), [wanted[0]]),
        (records.BatchDelete, api.BatchDeleteRecordsRequest(), [gone[0]]),
    ]:
        refused(unary(method, empty), "FIELD_MISSING", "requests")
        empty.requests.extend(full * 1_001)
        refused(unary(method, empty), "TOO_MANY_ITEMS", "requests")


def lists_and_counts():
    here = {"collection": "profiles", "regions": ["eu-fra"]}
    filters = {
        "age = 7": lambda n: n % 50 == 7,
        "age >= 10 AND age < 12": lambda n: n % 50 in (10, 11),
        'city = "c1"': lambda n: n % 3 == 1,
        'city IN ("c0", "c2") AND (age > 40)': lambda n: n % 3 != 1 and n % 50 > 40,
        "age != 0": lambda n: n % 50 != 0,
    }
    # One has lost its attributes.
    stored = [n for n in range(240) if n != 1]
    for text, holds in filters.items():
        expected = sorted(f"n-{n}" for n in stored if holds(n))
        found, token = [], ""
        while True:
            asked = api.ListRecordsRequest(
                **here, filter=text, page_size=7, page_token=token, view=api.RECORD_VIEW_WHOLE)
            page = records.List(asked, timeout=WITHIN)
            found += [(one.key, one.body) for one in page.records]
            token = page.next_page_token
            if not token:
                break
        assert sorted(key for key, _ in found) == expected, text
        assert all(key == f"n-{body.decode()}" for key, body in found), text
        asked = api.CountRecordsRequest(**here, filter=text)
        assert records.Count(asked, timeout=WITHIN).count == len(expected), text
    ordered = api.ListRecordsRequest(
        **here, order_by="age desc", page_size=1_000, view=api.RECORD_VIEW_ATTRIBUTES)
    page = records.List(ordered, timeout=WITHIN).records
    ages = [a.integer_value for one in page for a in one.attributes if a.name == "age"]
    assert len(ages) == 239 and ages == sorted(ages, reverse=True)
    for text, reason in [
        ("size = 1", "ATTRIBUTE_UNKNOWN"),
        ('age = "1"', "ATTRIBUTE_INVALID"),
        ('city > "a"', "INDEX_REQUIRED"),
        ("age = ", "FILTER_INVALID"),
        (" AND ".join(["age = 1"] * 33), "TOO_MANY_ITEMS"),
        ("(" * 17 + "age = 1" + ")" * 17, "FILTER_INVALID"),
        (f'city = "{"x" * (64 << 10)}"', "FILTER_INVALID"),
    ]:
        for method, asked in [
            (records.List, api.ListRecordsRequest(**here, filter=text)),
            (records.Count, api.CountRecordsRequest(**here, filter=text)),
        ]:
            refused(unary(method, asked), reason, "filter")
    token = records.List(api.ListRecordsRequest(**here, page_size=1), timeout=WITHIN).next_page_token
    for message, field in [
        (api.ListRecordsRequest(**here, page_token=token, filter="age = 1"), "page_token"),
        (api.ListRecordsRequest(**here, page_token=token[:-1]), "page_token"),
    ]:
        refused(unary(records.List, message), "PAGE_TOKEN_INVALID", field)

    scan = {"collection": "profiles", "region": "eu-fra"}
    asked = api.ScanRecordsRequest(**scan, purpose="a test", filter='city = "c1"')
    scanned = [one.key for page in records.Scan(asked, timeout=WITHIN) for one in page.records]
    assert sorted(scanned) == sorted(f"n-{n}" for n in stored if n % 3 == 1)
    refused(lambda: records.Scan(api.ScanRecordsRequest(**scan), timeout=WITHIN), "FIELD_MISSING",
            "purpose")


def watches():
    asked = {"collection": "profiles", "region": "eu-fra"}
    watch = records.Watch(api.WatchRecordsRequest(**asked), timeout=WITHIN)
    cursor = next(watch).cursor
    watch.cancel()
    records.Put(put("seen", body=b"x"), timeout=WITHIN)
    records.Delete(api.DeleteRecordRequest(**names("seen"), request_id=request_id()), timeout=WITHIN)
    told = []
    watch = records.Watch(api.WatchRecordsRequest(**asked, cursor=cursor), timeout=WITHIN)
    for answer in watch:
        told += [(one.kind, one.record.key, one.record.version) for one in answer.changes]
        if told and told[-1][0] == api.CHANGE_KIND_DELETED:
            break
    watch.cancel()
    # Each record as it is when it is told: the put may have been passed over.
    assert told[-1] == (api.CHANGE_KIND_DELETED, "seen", 2), told
    assert set(told[:-1]) <= {(api.CHANGE_KIND_WRITTEN, "seen", 1)}, told
    wrong = api.WatchRecordsRequest(**asked, cursor=cursor[:-1])
    refused(lambda: records.Watch(wrong, timeout=WITHIN), "PAGE_TOKEN_INVALID", "cursor")
    off = api.WatchRecordsRequest(collection="messages", region="eu-fra")
    refused(lambda: records.Watch(off, timeout=WITHIN), "FEED_REQUIRED", "collection")


def streams():
    writes = [
        api.StreamPutRequest(put=put("s-1", body=b"x")),
        api.StreamPutRequest(put=put("s-2", if_version=9)),
        api.StreamPutRequest(delete=api.DeleteRecordRequest(**names("n"), request_id="x")),
        api.StreamPutRequest(),
    ]
    answers = {a.index: a for a in records.StreamPut(iter(writes), timeout=WITHIN)}
    assert answers[0].done.version == 1
    assert says(answers[1].error)[0] == "VERSION_MISMATCH"
    assert says(answers[2].error)[0] == "FIELD_INVALID"
    assert says(answers[3].error)[0] == "FIELD_MISSING"
    patch = api.PatchRecordRequest(**names("s-1"), request_id=request_id(), body=b"y")
    [answer] = records.StreamPut(iter([api.StreamPutRequest(patch=patch)]), timeout=WITHIN)
    assert answer.patched.version == 2


def uploads():
    content = bytes(range(256)) * (10 << 10)
    spec = {"request_id": request_id(), "size": len(content),
            "sha256": hashlib.sha256(content).digest()} | names("film")

    def parts(fields, begins, ends=None):
        yield attachments_pb2.UploadAttachmentRequest(spec=attachments_pb2.UploadSpec(**fields))
        at = begins.get()
        while at < (ends or len(content)):
            end = min(at // MIB * MIB + MIB, len(content))
            data = attachments_pb2.UploadData(offset=at, data=content[at:end])
            yield attachments_pb2.UploadAttachmentRequest(data=data)
            at = end
        if ends:
            # The rest never comes: the stream is cut by the caller.
            begins.get()

    begins = queue.Queue()
    cut = attachments.Upload(parts(spec, begins, ends=MIB), timeout=WITHIN)
    begins.put(next(cut).committed_bytes)
    assert next(cut).committed_bytes == MIB
    cut.cancel()
    begins.put(0)
    stat = attachments_pb2.StatAttachmentRequest(**names("film"))
    refused(unary(attachments.Stat, stat), "RECORD_NOT_FOUND")
    begins = queue.Queue()
    again = attachments.Upload(parts(spec, begins), timeout=WITHIN)
    begun = next(again).committed_bytes
    assert begun == MIB, "what was stored is sent again"
    begins.put(begun)
    *_, last = again
    assert last.done.version == 1
    info = attachments.Stat(stat, timeout=WITHIN)
    assert (info.size, info.sha256) == (len(content), spec["sha256"])
    asked = attachments_pb2.DownloadAttachmentRequest(**names("film"), offset=MIB - 3, length=MIB)
    first, *rest = attachments.Download(asked, timeout=WITHIN)
    assert first.attachment.version == 1
    assert b"".join(part.data for part in rest) == content[MIB - 3 : 2 * MIB - 3]
    # What it is said to be and is not leaves nothing.
    begins.put(0)
    lie = spec | names("lie") | {"request_id": request_id(), "sha256": bytes(32)}
    refused(lambda: attachments.Upload(parts(lie, begins), timeout=WITHIN), "CONTENT_MISMATCH",
            "sha256")
    lied = attachments_pb2.StatAttachmentRequest(**names("lie"))
    refused(unary(attachments.Stat, lied), "RECORD_NOT_FOUND")


puts_and_gets()
patches_and_touches()
batches()
lists_and_counts()
watches()
streams()
uploads()
print("python: every method of records and attachments as documented")
