"""A call about a record of a subject that has moved, against a gateway in this process."""

import unittest
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from bailiwick import Client
from bailiwick.errors import Refused
from bailiwick.v1 import records_pb2, records_pb2_grpc


class Gateway(records_pb2_grpc.RecordsServicer):
    """Has every subject in eu-fra, and says so of those that are looked for elsewhere."""

    def __init__(self):
        self.asked = []

    def Get(self, request, context):
        self.asked.append(request.subject.domicile)
        if request.subject.domicile == "eu-fra":
            return records_pb2.Record(subject=request.subject, key=request.key, body=b"here")
        info = error_details_pb2.ErrorInfo(
            reason="SUBJECT_MOVED", domain="bailiwick.v1", metadata={"region": "eu-fra"}
        )
        detail = any_pb2.Any()
        detail.Pack(info)
        code = grpc.StatusCode.FAILED_PRECONDITION
        status = status_pb2.Status(code=code.value[0], message="it has moved", details=[detail])
        context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(code, "it has moved")


class Moved(unittest.TestCase):
    def setUp(self):
        self.gateway = Gateway()
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        records_pb2_grpc.add_RecordsServicer_to_server(self.gateway, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.addCleanup(self.server.stop, None)

    def get(self, **settings):
        with Client(f"http://127.0.0.1:{self.port}", **settings) as client:
            return client.get("anna", "profiles", "main", domicile="ru-msk")

    def test_a_call_goes_on_to_a_home_that_is_listed(self):
        self.assertEqual(self.get(homes=["eu-fra"]).body, b"here")
        self.assertEqual(self.gateway.asked, ["ru-msk", "eu-fra"])

    def test_and_to_no_other(self):
        for settings in ({}, {"homes": ["kz-ala"]}):
            with self.assertRaises(Refused) as caught:
                self.get(**settings)
            self.assertEqual((caught.exception.reason, caught.exception.region),
                             ("SUBJECT_MOVED", "eu-fra"))
        self.assertEqual(self.gateway.asked, ["ru-msk", "ru-msk"])
