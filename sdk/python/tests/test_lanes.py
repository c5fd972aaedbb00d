"""Lanes against a gateway that does what a test tells it: `python -m unittest` runs it, with the package
installed. Nothing here waits for a time: what the gateway has got decides."""

import asyncio
import dataclasses
import hashlib
import hmac
import struct
import threading
import time
import unittest
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

import bailiwick
from bailiwick import _lanes
from bailiwick.v1 import ledger_pb2, records_pb2, records_pb2_grpc

PATIENCE = 30.0


def answer_to(put):
    """The answer of an honest shard that has stored a put as version 1."""
    opening = bytes(32)
    names = ("sample", put.subject.id, put.collection, put.key)
    texts = b"".join(struct.pack(">I", len(name)) + name.encode() for name in names)
    digest = hashlib.sha256(opening + put.body).digest()
    statement = b"\1" + texts + struct.pack(">Q", 1) + digest
    commitment = hmac.new(b"bailiwick placement v1", opening + statement, "sha256").digest()
    collection = bytes([len(put.collection)]) + put.collection.encode()
    entry = b"\1\3" + struct.pack(">IH", 7, 1 << 1 | 1 << 10) + collection + commitment
    receipt = ledger_pb2.Receipt(
        origin="sample/eu-fra/s1/1", index=4, entry=entry, opening=opening, statement=statement)
    subject = records_pb2.SubjectRef(id=put.subject.id, domicile="eu-fra")
    return records_pb2.PutRecordResponse(subject=subject, version=1, etag="1", receipt=receipt)


def refusal(code, reason):
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="bailiwick.v1"))
    return status_pb2.Status(code=code.value[0], message="no", details=[info])


class Gateway(records_pb2_grpc.RecordsServicer):
    """Answers puts as calls, and on streams what `on_stream` gives for all that a stream has got: a list
    of (place, request); `None` ends the stream with an error."""

    def __init__(self, on_stream=None):
        self.on_stream = on_stream or (lambda puts: [self.done(*put) for put in puts])
        self.lock = threading.Condition()
        #: Ids of requests that came as calls, and on streams; the token of each stream.
        self.called, self.streamed, self.tokens = [], [], []
        self.opened, self.held = threading.Event(), 0
        #: Calls wait until a stream is open, or until it is set.
        self.calls_wait = threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(300))
        records_pb2_grpc.add_RecordsServicer_to_server(self, self.server)
        self.url = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    @staticmethod
    def done(place, request):
        return records_pb2.StreamPutResponse(
            index=place, request_id=request.put.request_id, done=answer_to(request.put))

    def Put(self, request, context):
        with self.lock:
            self.called.append(request.request_id)
            self.lock.notify_all()
        self.calls_wait.wait(PATIENCE)
        return answer_to(request)

    def StreamPut(self, requests, context):
        with self.lock:
            self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        context.send_initial_metadata(())
        self.opened.set()
        for place, request in enumerate(requests):
            assert 0 < request.timeout.ToMilliseconds() <= PATIENCE * 1_000
            with self.lock:
                self.streamed.append(request.put.request_id)
                self.lock.notify_all()
            answers = self.on_stream([(place, request)])
            if answers is None:
                context.abort(grpc.StatusCode.UNAVAILABLE, "it breaks")
            yield from answers

    def wait(self, what):
        with self.lock:
            assert self.lock.wait_for(what, PATIENCE), "it does not come"

    def stop(self):
        self.calls_wait.set()
        self.server.stop(None).wait()


class Lanes(unittest.TestCase):
    def gateway(self, on_stream=None):
        gateway = Gateway(on_stream)
        self.addCleanup(gateway.stop)
        return gateway

    def client(self, gateway, **settings):
        settings = {"deadline": PATIENCE, "tenant": "sample", "lanes": 2} | settings
        client = bailiwick.Client(gateway.url, **settings)
        self.addCleanup(client.close)
        return client

    def together(self, gateway, client, count, first=0):
        """So many puts at once, of which the first two go as calls, and wait there until a lane is open
        and the others are on it."""
        ids = [bailiwick.new_request_id() for _ in range(count + 2)]

        def put(n):
            return client.put(f"p-{first + n}", "profiles", "main", b"%d" % n, request_id=ids[n])

        pool = futures.ThreadPoolExecutor(count + 2)
        self.addCleanup(pool.shutdown)
        seen, before = len(gateway.called), len(gateway.streamed)
        gateway.calls_wait.clear()
        ends = []
        for n in (0, 1):
            ends.append(pool.submit(put, n))
            gateway.wait(lambda: len(gateway.called) > seen + n)
        # The second has met the first: a lane is opened now.
        assert gateway.opened.wait(PATIENCE)
        while not any(slot.lane for slot in client._lanes._slots):
            time.sleep(0.001)
        ends += [pool.submit(put, n) for n in range(2, count + 2)]
        gateway.wait(lambda: len(gateway.streamed) > before or count == 0)
        return ids, ends

    def test_a_put_alone_is_a_call_and_those_that_meet_share_a_stream(self):
        gateway = self.gateway()
        gateway.calls_wait.set()
        client = self.client(gateway)
        for n in range(3):
            client.put(f"p-{n}", "profiles", "main", b"x")
        self.assertEqual((len(gateway.called), gateway.tokens), (3, []))
        ids, ends = self.together(gateway, client, 50)
        gateway.wait(lambda: len(gateway.streamed) == 50)
        gateway.calls_wait.set()
        written = [end.result(PATIENCE) for end in ends]
        self.assertEqual([one.subject for one in written], [f"p-{n}" for n in range(52)])
        self.assertTrue(all(one.entry.kind == "PLACE" for one in written))
        self.assertEqual(sorted(gateway.streamed), sorted(ids[2:]))
        # One that would hold up the others, and a client without lanes.
        client.put("p-1", "profiles", "main", bytes(_lanes.PUT_BYTES_MAX))
        self.assertEqual((len(gateway.streamed), len(gateway.tokens)), (50, 1))

    def test_without_lanes_each_put_is_a_call(self):
        gateway = self.gateway()
        client = self.client(gateway, lanes=0)
        with futures.ThreadPoolExecutor(8) as pool:
            ends = [pool.submit(client.put, f"p-{n}", "profiles", "main", b"") for n in range(8)]
            gateway.wait(lambda: len(gateway.called) == 8)
            gateway.calls_wait.set()
            self.assertEqual({end.result(PATIENCE).version for end in ends}, {1})
        self.assertEqual(gateway.tokens, [])

    def test_what_a_broken_stream_had_is_sent_again_as_a_call_under_the_same_id(self):
        wrong = records_pb2.StreamPutResponse(index=99, request_id="?")
        for broken in (lambda _: None, lambda _: [wrong]):
            gateway = self.gateway(broken)
            client = self.client(gateway)
            ids, ends = self.together(gateway, client, 5)
            gateway.calls_wait.set()
            written = [end.result(PATIENCE) for end in ends]
            self.assertEqual([one.version for one in written], [1] * 7)
            # Each came as a call, and no id was drawn for it.
            self.assertEqual(sorted(gateway.called), sorted(ids))

    def test_a_refusal_is_that_of_its_put_alone(self):
        def refuse(puts):
            [(place, request)] = puts
            if request.put.subject.id != "p-3":
                return [Gateway.done(place, request)]
            status = refusal(grpc.StatusCode.ABORTED, "VERSION_MISMATCH")
            return [records_pb2.StreamPutResponse(
                index=place, request_id=request.put.request_id, error=status)]

        gateway = self.gateway(refuse)
        _, ends = self.together(gateway, self.client(gateway), 5)
        gateway.calls_wait.set()
        with self.assertRaises(bailiwick.Conflict) as refused:
            ends[3].result(PATIENCE)
        self.assertEqual(refused.exception.reason, "VERSION_MISMATCH")
        del ends[3]
        self.assertEqual([end.result(PATIENCE).version for end in ends], [1] * 6)
        self.assertEqual(len(gateway.called), 2)

    def test_a_lane_carries_one_token(self):
        gateway = self.gateway()
        tokens = ["one"]
        client = self.client(gateway, token=lambda: tokens[-1])
        for token in ("one", "two"):
            tokens.append(token)
            gateway.opened.clear()
            for slot in client._lanes._slots:
                slot.next = 0.0
            _, ends = self.together(gateway, client, 3)
            gateway.calls_wait.set()
            self.assertEqual({end.result(PATIENCE).version for end in ends}, {1})
        self.assertEqual(gateway.tokens, ["Bearer one", "Bearer two"])

    def test_a_put_waits_for_room(self):
        let, most = threading.Event(), 4
        held = []

        def hold(puts):
            held.extend(puts)
            if not let.is_set() and len(held) < most:
                return []
            let.set()
            ready, held[:] = held[:], []
            return [Gateway.done(*put) for put in ready]

        gateway = self.gateway(hold)
        before, _lanes.CALLS_MAX = _lanes.CALLS_MAX, most
        self.addCleanup(setattr, _lanes, "CALLS_MAX", before)
        _, ends = self.together(gateway, self.client(gateway), 20)
        gateway.calls_wait.set()
        self.assertEqual([end.result(PATIENCE).version for end in ends], [1] * 22)
        self.assertEqual(len(gateway.streamed), 20)

    def test_a_put_that_is_not_answered_in_time_leaves_its_lane(self):
        gateway = self.gateway(lambda puts: [])
        gateway.calls_wait.set()
        client = self.client(gateway, deadline=2.0)
        lane = _lanes.Lane(None, lambda request: None, futures.Future)
        client._lanes._slots[0].lane = lane
        with client._lanes.under_way(), self.assertRaises(bailiwick.TimedOut):
            client.put("p-1", "profiles", "main", b"")
        self.assertFalse(lane.carries(None))
        client._settings = dataclasses.replace(client._settings, deadline=PATIENCE)
        self.assertEqual(client.put("p-1", "profiles", "main", b"").version, 1)

    def test_one_that_no_put_has_used_for_long_ends(self):
        gateway = self.gateway()
        before, _lanes.IDLE_MAX = _lanes.IDLE_MAX, 0.0
        self.addCleanup(setattr, _lanes, "IDLE_MAX", before)
        client = self.client(gateway)
        _, ends = self.together(gateway, client, 2)
        gateway.calls_wait.set()
        self.assertEqual({end.result(PATIENCE).version for end in ends}, {1})
        lane = next(slot.lane for slot in client._lanes._slots if slot.lane)
        while lane.carries(None):
            time.sleep(0.01)

    def test_tasks_share_a_stream_as_threads_do(self):
        async def run(gateway):
            settings = {"deadline": PATIENCE, "tenant": "sample", "lanes": 2}
            async with bailiwick.AsyncClient(gateway.url, **settings) as client:
                def put(n):
                    return asyncio.create_task(
                        client.put(f"p-{n}", "profiles", "main", b"%d" % n))

                first = [put(0), put(1)]
                while not any(slot.lane for slot in client._lanes._slots):
                    await asyncio.sleep(0.001)
                rest = [put(n) for n in range(2, 52)]
                while len(gateway.streamed) == 0:
                    await asyncio.sleep(0.001)
                gateway.calls_wait.set()
                return await asyncio.wait_for(asyncio.gather(*first, *rest), PATIENCE)

        gateway = self.gateway()
        written = asyncio.run(run(gateway))
        self.assertEqual([one.subject for one in written], [f"p-{n}" for n in range(52)])
        self.assertEqual((len(gateway.called), len(gateway.streamed)), (2, 50))
        broken = self.gateway(lambda _: None)
        written = asyncio.run(run(broken))
        self.assertEqual([one.version for one in written], [1] * 52)
        self.assertEqual(len(broken.called), 52)


if __name__ == "__main__":
    unittest.main()
