"""What a client makes of answers, against a gateway in this process that gives what a test wants."""

import asyncio
import unittest
from concurrent import futures
from datetime import UTC, datetime

import grpc

from bailiwick import AsyncClient, Client, ConnectionBroken, Delete, Evidence, TooLarge
from bailiwick.v1 import (
    jurisdiction_pb2,
    records_pb2,
    records_pb2_grpc,
    subjects_pb2,
    subjects_pb2_grpc,
)

LOST = jurisdiction_pb2.RegionMissing(region="ru-msk", reason="INDEX_BUILDING")


class Records(records_pb2_grpc.RecordsServicer):
    """Has three records in two pages, and has lost a region."""

    def List(self, request, context):
        first = not request.page_token
        answer = records_pb2.ListRecordsResponse(
            next_page_token="more" if first else "", unreachable=["ru-msk"], missing=[LOST],
            withheld=1,
        )
        for key in ("a", "b") if first else ("c",):
            record = answer.records.add(key=key, attachment_bytes=7)
            record.expire_time.FromDatetime(datetime(2027, 1, 1, tzinfo=UTC))
        return answer

    def Scan(self, request, context):
        for key in ("a", "b"):
            page = records_pb2.ScanRecordsResponse(withheld=2)
            page.records.add(key=key)
            yield page

    def Count(self, request, context):
        return records_pb2.CountRecordsResponse(count=3, unreachable=["ru-msk"], missing=[LOST])


class Subjects(subjects_pb2_grpc.SubjectsServicer):
    """Gives exports of two records, of which one ends early and one says a wrong number."""

    def Export(self, request, context):
        yield subjects_pb2.ExportSubjectResponse(subject=subjects_pb2.Subject(territory="DE"))
        for key in ("a", "b"):
            yield subjects_pb2.ExportSubjectResponse(record=records_pb2.Record(key=key))
        counts = {"whole": 2, "lacks": 3}
        if request.purpose in counts:
            end = subjects_pb2.ExportEnd(record_count=counts[request.purpose])
            yield subjects_pb2.ExportSubjectResponse(end=end)


class Answers(unittest.TestCase):
    def setUp(self):
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        records_pb2_grpc.add_RecordsServicer_to_server(Records(), server)
        subjects_pb2_grpc.add_SubjectsServicer_to_server(Subjects(), server)
        self.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self.addCleanup(server.stop, None)

    def test_a_list_can_be_gone_through_twice_and_says_what_it_lacks(self):
        with Client(self.url) as client:
            found = client.list("messages", regions=["eu-fra", "ru-msk"])
            for _ in range(2):
                self.assertEqual([record.key for record in found], ["a", "b", "c"])
                self.assertEqual(found.missing, {"ru-msk": "INDEX_BUILDING"})
                self.assertEqual((found.unreachable, found.withheld), ({"ru-msk"}, 2))
            record = next(iter(found))
            self.assertEqual(record.expire_time, datetime(2027, 1, 1, tzinfo=UTC))
            self.assertEqual(record.attachment_bytes, 7)
            count = client.count("messages", regions=["eu-fra", "ru-msk"])
            self.assertEqual((count.count, count.missing), (3, {"ru-msk": "INDEX_BUILDING"}))

    def test_the_same_for_tasks(self):
        async def twice():
            async with AsyncClient(self.url) as client:
                found = client.list("messages", regions=["eu-fra"])
                scan = client.scan("messages", region="eu-fra", purpose="a test")
                scanned = [record.key async for record in scan], scan.withheld
                return [[record.key async for record in found] for _ in range(2)], scanned

        self.assertEqual(asyncio.run(twice()), ([["a", "b", "c"]] * 2, (["a", "b"], 4)))

    def test_a_scan_says_what_it_lacks(self):
        with Client(self.url) as client:
            scan = client.scan("messages", region="eu-fra", purpose="a test")
            self.assertEqual([record.key for record in scan], ["a", "b"])
            self.assertEqual(scan.withheld, 4)

    def test_an_export_that_is_not_whole_is_an_error(self):
        with Client(self.url) as client:
            whole = list(client.export_subject("anna", domicile="eu-fra", purpose="whole"))
            self.assertEqual(whole[0].territory, "DE")
            self.assertEqual([record.key for record in whole[1:]], ["a", "b"])
            for purpose in ("lacks", "cut"):
                with self.assertRaises(ConnectionBroken):
                    list(client.export_subject("anna", domicile="eu-fra", purpose=purpose))

    def test_a_moment_without_a_time_zone_is_not_sent(self):
        naive = datetime(2027, 1, 1)
        names = ("anna", "messages", "a")
        with Client(self.url) as client:
            for call in (
                lambda: client.put(*names, b"", domicile="eu-fra", expire_time=naive),
                lambda: client.touch(*names, domicile="eu-fra", expire_time=naive),
                lambda: client.block_subject("anna", naive, domicile="eu-fra", reason="x"),
            ):
                with self.assertRaises(ValueError):
                    call()

    def test_what_cannot_be_sent_is_refused_here_with_what_is_wrong(self):
        names = ("anna", "messages", "a")
        with Client(self.url) as client:
            with self.assertRaises(TooLarge):
                client.put(*names, bytes(35 << 20), domicile="eu-fra")
            with self.assertRaisesRegex(ValueError, "citizenship, document, residence"):
                client.put(*names, b"", evidence=[Evidence("birthplace", "DE")])
            with self.assertRaises(TypeError):
                client.list("messages", regions="eu-fra")

    def test_no_content_is_shown(self):
        shown = repr([Delete("anna", "messages", "a", "eu-fra"), Evidence("residence", "DE")])
        self.assertNotIn("anna", shown)


if __name__ == "__main__":
    unittest.main()
