"""Downloads against a gateway that does what a test tells it: `python -m unittest` runs it, with the
package installed."""

import asyncio
import unittest

from bailiwick.aio import AsyncClient
from bailiwick.v1 import attachments_pb2

BODY = bytes(range(200))


class Silent:
    """A stream that gives what was asked for, and never ends."""

    def __init__(self, request):
        end = request.offset + request.length if request.length else len(BODY)
        info = attachments_pb2.AttachmentInfo(size=len(BODY), etag="e")
        data = BODY[request.offset : end]
        self.left = [
            attachments_pb2.DownloadAttachmentResponse(attachment=info),
            attachments_pb2.DownloadAttachmentResponse(data=data),
        ]

    async def read(self):
        if self.left:
            return self.left.pop(0)
        return await asyncio.Event().wait()

    def cancel(self):
        pass


class Gateway:
    def __init__(self):
        self.asked = []

    def Download(self, request, metadata):  # noqa: N802
        self.asked.append((request.offset, request.length))
        return Silent(request)


class Parts(unittest.IsolatedAsyncioTestCase):
    async def test_a_part_ends_with_its_last_byte_where_the_stream_does_not(self):
        client = AsyncClient("http://127.0.0.1:1", deadline=1.0)
        client._attachments = gateway = Gateway()
        parts = client.download("anna", "photos", "k", domicile="eu-fra", offset=20, length=50)
        come = b"".join([data async for data in parts])
        self.assertEqual(come, BODY[20:70])
        # A length of 0 asks for all that follows.
        self.assertTrue(all(length > 0 for _, length in gateway.asked), gateway.asked)
        await client.close()


if __name__ == "__main__":
    unittest.main()
