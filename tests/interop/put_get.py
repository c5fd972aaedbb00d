"""A client in Python, from our protos alone: puts a record, reads it back, meets an error.

Usage: put_get.py GATEWAY STUBS
"""
import hashlib
import hmac
import sys
import uuid

gateway, stubs = sys.argv[1:]
sys.path.insert(0, stubs)

import grpc
from bailiwick.v1 import jurisdiction_pb2, records_pb2, records_pb2_grpc, subjects_pb2, subjects_pb2_grpc

channel = grpc.insecure_channel(gateway)
records = records_pb2_grpc.RecordsStub(channel)
subjects = subjects_pb2_grpc.SubjectsStub(channel)
evidence = [
    jurisdiction_pb2.Evidence(kind=jurisdiction_pb2.RESIDENCE, value="RU"),
    jurisdiction_pb2.Evidence(kind=jurisdiction_pb2.CITIZENSHIP, value="RU"),
]

ruling = subjects.ResolvePlacement(
    subjects_pb2.ResolvePlacementRequest(collection="profiles", evidence=evidence), timeout=10)
assert ruling.placement.region == "ru-msk", ruling.placement.region
assert [a.jurisdiction for a in ruling.attachments] == ["RU"]

body = bytes(range(256)) * 4
put = records_pb2.PutRecordRequest(
    subject=records_pb2.SubjectRef(id="python-1"), collection="profiles", key="main", body=body,
    request_id=str(uuid.uuid4()), create_subject=True, evidence=evidence)
done = records.Put(put, timeout=10)
assert done.subject.domicile == "ru-msk" and done.version == 1 and not done.replayed

# The receipt by its words alone: the entry ends with the commitment to opening and statement, and
# the statement with the digest of opening and body.
receipt = done.receipt
commitment = hmac.new(
    b"bailiwick placement v1", receipt.opening + receipt.statement, hashlib.sha256).digest()
assert receipt.entry.endswith(commitment)
assert receipt.statement.endswith(hashlib.sha256(receipt.opening + body).digest())

again = records.Put(put, timeout=10)
assert again.replayed and again.version == 1 and again.receipt == receipt

record = records.Get(
    records_pb2.GetRecordRequest(subject=done.subject, collection="profiles", key="main"),
    timeout=10)
assert record.body == body and record.etag == done.etag

answers = list(records.StreamPut(iter([
    records_pb2.StreamPutRequest(put=records_pb2.PutRecordRequest(
        subject=done.subject, collection="profiles", key=f"k{n}", body=b"x",
        request_id=str(uuid.uuid4()))) for n in range(100)]), timeout=30))
assert sorted(a.index for a in answers) == list(range(100))
assert all(a.WhichOneof("outcome") == "done" for a in answers)
answers = list(records.StreamPut(iter([
    records_pb2.StreamPutRequest(delete=records_pb2.DeleteRecordRequest(
        subject=done.subject, collection="profiles", key="k0", request_id=str(uuid.uuid4())))]),
    timeout=30))
assert [(a.WhichOneof("outcome"), a.deleted.version) for a in answers] == [("deleted", 2)]

for choice in [{"subject": done.subject}, {"regions": ["ru-msk", "eu-fra"]}]:
    keys, token = [], ""
    while True:
        page = records.List(records_pb2.ListRecordsRequest(
            collection="profiles", order_by="key", page_size=30, page_token=token, **choice),
            timeout=10)
        keys += [record.key for record in page.records]
        token = page.next_page_token
        if not token:
            break
    assert keys == sorted(["main"] + [f"k{n}" for n in range(1, 100)]), keys
    count = records.Count(
        records_pb2.CountRecordsRequest(collection="profiles", **choice), timeout=10)
    assert count.count == 100 and not count.unreachable

try:
    records.Get(records_pb2.GetRecordRequest(
        subject=done.subject, collection="profiles", key="nothing"), timeout=10)
    raise AssertionError("a record that is not there was found")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert b"RECORD_NOT_FOUND" in details and b"call_id" in details
print("python: put, get, stream, retry and receipt as documented")
