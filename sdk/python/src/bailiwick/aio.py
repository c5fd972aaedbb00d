"""The client for asyncio. Its methods are those of :class:`bailiwick.Client`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import grpc
import grpc.aio

from bailiwick import _batch as batches
from bailiwick import _list as lists
from bailiwick import _messages as api
from bailiwick import _transfer as transfers
from bailiwick import errors
from bailiwick._attributes import AttributeValue
from bailiwick._core import (
    Attempts,
    Delete,
    Evidence,
    Put,
    Record,
    Settings,
    Tls,
    TokenSource,
    Written,
)
from bailiwick._lanes import NotSent, outcome
from bailiwick._list import Count, Person, View
from bailiwick._sealed_calls import AsyncSealedCalls, read_all
from bailiwick._sealing import Bodies
from bailiwick._subjects import AsyncSubjectCalls
from bailiwick._task_lanes import TaskLanes
from bailiwick._transfer import Attachment, Downloading, Source, Uploadable, Uploading
from bailiwick._watch import SILENCE, Changes, Watching
from bailiwick.sealed import CallerKeys
from bailiwick.v1 import (
    attachments_pb2_grpc,
    jurisdiction_pb2,
    operations_pb2_grpc,
    records_pb2_grpc,
    subjects_pb2_grpc,
    transit_pb2_grpc,
)


class AsyncClient(AsyncSealedCalls, AsyncSubjectCalls):
    """A client of one gateway, for one event loop. It ends with :meth:`close`."""

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource = None,
        tls: Tls | None = None,
        deadline: float = 10.0,
        attempts: int = 5,
        tenant: str | None = None,
        lanes: int = 0,
        homes: Iterable[str] = (),
        identities: Iterable[str] = (),
        own_keys: CallerKeys | None = None,
    ) -> None:
        self._settings = Settings(
            url, token, tls, deadline, attempts, tenant, lanes, tuple(homes)
        )
        self._bodies = Bodies(tenant, identities, own_keys)
        self._channel = self._connect()
        self._lanes = TaskLanes(lanes, lambda: self._connect(own=True))
        self._records = records_pb2_grpc.RecordsStub(self._channel)
        self._subjects = subjects_pb2_grpc.SubjectsStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)
        self._attachments = attachments_pb2_grpc.AttachmentsStub(self._channel)
        self._transit = transit_pb2_grpc.TransitStub(self._channel)

    def _connect(self, own: bool = False) -> grpc.aio.Channel:
        target, secure = self._settings.target()
        options = self._settings.channel_options(own)
        if secure:
            credentials = self._settings.credentials()
            return grpc.aio.secure_channel(target, credentials, options=options)
        return grpc.aio.insecure_channel(target, options=options)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections."""
        await self._lanes.close()
        await self._channel.close()

    async def put(
        self,
        subject: str,
        collection: str,
        key: str,
        body: bytes,
        *,
        domicile: str = "",
        evidence: Iterable[Evidence] = (),
        create_subject: bool = False,
        if_version: int | None = None,
        etag: str = "",
        validate_only: bool = False,
        proof: bool = False,
        request_id: str = "",
        attributes: Mapping[str, AttributeValue] | None = None,
        participants: Iterable[tuple[str, str]] = (),
        expire_time: datetime | None = None,
    ) -> Written:
        """See :meth:`bailiwick.Client.put`."""
        put = Put(
            subject, collection, key, body, domicile, tuple(evidence), create_subject, if_version,
            etag, validate_only, proof, request_id, attributes or {}, tuple(participants),
            expire_time,
        )
        message = self._bodies.encrypted(api.put_message(put))
        answer, once, _ = await self._sealed(self._put, message)
        return api.check_put(message, answer, self._settings.tenant, once and not request_id)

    async def get(
        self, subject: str, collection: str, key: str, *, domicile: str, purpose: str = ""
    ) -> Record:
        """See :meth:`bailiwick.Client.get`."""
        message = api.get_message(subject, domicile, collection, key, purpose)
        answer, _, secret = await self._sealed(lambda sent: self._call(self._records.Get, sent), message)
        return api.record_of(self._bodies.decrypted(self._bodies.opened(answer, secret), message))

    async def patch(
        self,
        subject: str,
        collection: str,
        key: str,
        *,
        domicile: str,
        body: bytes | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        remove_attributes: Sequence[str] = (),
        if_version: int | None = None,
        etag: str = "",
        validate_only: bool = False,
        proof: bool = False,
        request_id: str = "",
    ) -> Written:
        """See :meth:`bailiwick.Client.patch`."""
        message = api.patch_message(
            subject, domicile, collection, key, body, attributes or {}, remove_attributes,
            if_version, etag, validate_only, proof, request_id,
        )
        message = self._bodies.encrypted(message)
        answer, once, _ = await self._sealed(
            lambda sent: self._call(self._records.Patch, sent), message
        )
        return api.check_patch(message, answer, self._settings.tenant, once and not request_id)

    async def delete(
        self,
        subject: str,
        collection: str,
        key: str,
        *,
        domicile: str,
        if_version: int | None = None,
        etag: str = "",
        validate_only: bool = False,
        proof: bool = False,
        request_id: str = "",
    ) -> Written:
        """See :meth:`bailiwick.Client.delete`."""
        message = api.delete_message(
            subject, domicile, collection, key, if_version, etag, validate_only, proof, request_id
        )
        answer, once = await self._call(self._records.Delete, message)
        return api.check_delete(message, answer, self._settings.tenant, once and not request_id)

    async def create_subject(
        self,
        subject: str,
        collection: str,
        evidence: Iterable[Evidence],
        *,
        domicile: str = "",
        request_id: str = "",
    ) -> Written:
        """See :meth:`bailiwick.Client.create_subject`."""
        message = api.create_message(subject, collection, domicile, evidence, request_id)
        answer, once = await self._call(self._subjects.Create, message)
        return api.check_create(message, answer, self._settings.tenant, once and not request_id)

    async def resolve(
        self, collection: str, evidence: Iterable[Evidence]
    ) -> jurisdiction_pb2.Ruling:
        """See :meth:`bailiwick.Client.resolve`."""
        message = api.resolve_message(collection, evidence)
        return (await self._call(self._subjects.ResolvePlacement, message))[0]

    async def batch_put(self, puts: Sequence[Put], *, atomic: bool = False) -> batches.PutEnds:
        """See :meth:`bailiwick.Client.batch_put`."""
        messages = [self._bodies.encrypted(api.put_message(put)) for put in puts]
        sent = [one for one, _ in await self._sealed_all(messages)]
        pack = batches.atomic_batch if atomic else batches.put_batch
        ends = await self._batch(self._records.BatchPut, pack, sent)
        return batches.check_batch(puts, messages, ends, self._settings.tenant)

    async def batch_delete(self, deletes: Sequence[Delete]) -> batches.PutEnds:
        """See :meth:`bailiwick.Client.batch_delete`."""
        messages = [api.batch_delete_message(one) for one in deletes]
        ends = await self._batch(self._records.BatchDelete, batches.delete_batch, messages)
        return batches.check_batch(deletes, messages, ends, self._settings.tenant)

    async def batch_get(
        self, records: Sequence[tuple[str, str, str, str]], *, purpose: str = ""
    ) -> batches.GetEnds:
        """See :meth:`bailiwick.Client.batch_get`."""
        messages = [api.get_message(*names, purpose) for names in records]
        sent = await self._sealed_all(messages)
        ends = await self._batch(
            self._records.BatchGet, batches.get_batch, [one for one, _ in sent]
        )
        return read_all(self._bodies, messages, sent, ends)

    def list(
        self,
        collection: str,
        *,
        regions: Sequence[str] = (),
        subject: str = "",
        domicile: str = "",
        participant: Person | None = None,
        filter: str = "",
        order_by: str = "",
        view: View = "names",
        page_size: int = 0,
        purpose: str = "",
    ) -> AsyncRecords:
        """See :meth:`bailiwick.Client.list`."""
        of = lists.choice(collection, regions, subject, domicile, participant, filter, purpose)
        return AsyncRecords(self, lists.list_message(of, order_by, view, page_size))

    async def count(
        self,
        collection: str,
        *,
        regions: Sequence[str] = (),
        subject: str = "",
        domicile: str = "",
        participant: Person | None = None,
        filter: str = "",
        purpose: str = "",
    ) -> Count:
        """See :meth:`bailiwick.Client.count`."""
        of = lists.choice(collection, regions, subject, domicile, participant, filter, purpose)
        answer, _ = await self._call(self._records.Count, lists.count_message(of))
        return lists.count_of(answer)

    async def watch(
        self,
        collection: str,
        *,
        region: str = "",
        subject: str = "",
        domicile: str = "",
        cursor: str = "",
        purpose: str = "",
    ) -> AsyncIterator[Changes]:
        """See :meth:`bailiwick.Client.watch`."""
        watching = Watching(
            self._settings, collection, region, subject, domicile, cursor, purpose
        )
        while True:
            call = self._records.Watch(watching.message, metadata=watching.metadata())
            try:
                while True:
                    answer = await asyncio.wait_for(call.read(), SILENCE)
                    if answer is grpc.aio.EOF:
                        break
                    yield watching.answered(answer)
                wait = watching.pause(errors.ConnectionBroken("the watch ended"))
            except TimeoutError:
                wait = watching.pause(errors.ConnectionBroken("the gateway is silent"))
            except grpc.RpcError as failed:
                wait = watching.again(failed)
            finally:
                call.cancel()
            await asyncio.sleep(wait)

    def scan(
        self, collection: str, *, region: str, purpose: str, filter: str = "", bodies: bool = True
    ) -> AsyncScan:
        """See :meth:`bailiwick.Client.scan`."""
        message = api.scan_message(collection, region, purpose, filter, bodies)
        return AsyncScan(self, message)

    async def upload(
        self,
        subject: str,
        collection: str,
        key: str,
        content: Uploadable,
        *,
        domicile: str = "",
        attributes: Mapping[str, AttributeValue] | None = None,
        if_version: int | None = None,
        etag: str = "",
        expire_time: datetime | None = None,
        proof: bool = False,
        request_id: str = "",
        create_subject: bool = False,
        evidence: Iterable[Evidence] = (),
        participants: Iterable[tuple[str, str]] = (),
    ) -> Written:
        """See :meth:`bailiwick.Client.upload`. The content is read on the event loop, 256 KiB at a
        time."""
        self._bodies.refuse_plain()
        source = Source(content)
        try:
            upload = Uploading(
                self._settings, source, subject, domicile, collection, key, attributes or {},
                if_version, etag, expire_time, proof, request_id, create_subject, evidence,
                participants,
            )
            while True:
                begin: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                call = self._attachments.Upload(_sent(upload, begin), metadata=upload.metadata())
                try:
                    while (answer := await self._read(call)) is not None:
                        done = upload.answered(answer)
                        if done is not None:
                            return upload.check(done)
                        if not begin.done():
                            begin.set_result(upload.stored)
                    wait = upload.cut()
                except TimeoutError:
                    wait = upload.cut()
                except grpc.RpcError as failed:
                    wait = upload.again(failed)
                finally:
                    begin.cancel()
                    call.cancel()
                await asyncio.sleep(wait)
        finally:
            source.close()

    async def download(
        self,
        subject: str,
        collection: str,
        key: str,
        *,
        domicile: str,
        offset: int = 0,
        length: int = 0,
        etag: str = "",
        purpose: str = "",
    ) -> AsyncIterator[bytes]:
        """See :meth:`bailiwick.Client.download`."""
        self._bodies.refuse_plain()
        download = Downloading(
            self._settings, subject, domicile, collection, key, offset, length, etag, purpose
        )
        while True:
            call = self._attachments.Download(download.request, metadata=download.metadata())
            try:
                while (answer := await self._read(call)) is not None:
                    if data := download.answered(answer):
                        yield data
                if download.ended():
                    return
                wait = download.cut()
            except TimeoutError:
                if download.complete() and download.ended():
                    return
                wait = download.cut()
            except grpc.RpcError as failed:
                if download.complete() and download.ended():
                    return
                wait = download.again(failed)
            finally:
                call.cancel()
            await asyncio.sleep(wait)

    async def stat(
        self, subject: str, collection: str, key: str, *, domicile: str, purpose: str = ""
    ) -> Attachment:
        """See :meth:`bailiwick.Client.stat`."""
        message = transfers.stat_message(subject, domicile, collection, key, purpose)
        return transfers.attachment_of((await self._call(self._attachments.Stat, message))[0])

    async def _read(self, call: Any) -> Any | None:
        """The next answer of a stream. None: it has ended."""
        answer = await asyncio.wait_for(call.read(), self._settings.deadline)
        return None if answer is grpc.aio.EOF else answer

    async def _call(self, method: Callable[..., Any], message: Any) -> tuple[Any, bool]:
        attempts = Attempts(self._settings)
        while True:
            try:
                call = method(message, timeout=attempts.timeout(), metadata=attempts.metadata())
                return await call, attempts.once
            except grpc.RpcError as failed:
                await asyncio.sleep(attempts.again(failed, message))

    async def _put(self, message: Any) -> tuple[Any, bool]:
        """A put, on a lane with others or as a call."""
        attempts, alone = Attempts(self._settings), False
        with self._lanes.under_way():
            while True:
                lane = None
                if not alone:
                    lane = self._lanes.put(message, attempts.until, attempts.bearer)
                try:
                    if lane is not None:
                        answer = await asyncio.wait_for(lane.answer, attempts.timeout())
                        answer = outcome(answer)
                    else:
                        answer = await self._records.Put(
                            message, timeout=attempts.timeout(), metadata=attempts.metadata()
                        )
                    return answer, attempts.once
                except NotSent:
                    alone = True
                    continue
                except TimeoutError:
                    if lane is not None:
                        lane.late()
                    raise errors.TimedOut("the gateway did not answer in time") from None
                except grpc.RpcError as failed:
                    error = errors.of_rpc(failed)
                except errors.Refused as refused:
                    error = refused
                alone = alone or (lane is not None and lane.lost)
                await asyncio.sleep(attempts.after(error, message))

    async def _batch(
        self, method: Callable[..., Any], pack: Callable[..., Any], messages: Sequence[Any]
    ) -> batches.Ends:
        batch = batches.Batch(self._settings, messages)
        while True:
            try:
                answer, once = await self._call(method, pack(batch.pending()))
            except errors.BailiwickError as error:
                return batch.failed(error)
            wait = batch.answered(answer.results, once)
            if wait is None:
                return batch.ends
            await asyncio.sleep(wait)


class AsyncRecords(lists.Listing):
    """The records of a list, one after the other."""

    def __init__(self, client: AsyncClient, message: Any) -> None:
        super().__init__(message, client._bodies)
        self._client = client

    async def __aiter__(self) -> AsyncIterator[Record]:
        asked, more = self._begin(), True
        while more:
            for record in self._answered(asked, *await self._client._listed(asked)):
                yield record
            more = asked.page_token != ""


class AsyncScan(lists.Scanning):
    """The records of a scan, one after the other."""

    def __init__(self, client: AsyncClient, message: Any) -> None:
        super().__init__(message, client._bodies)
        self._client = client

    async def __aiter__(self) -> AsyncIterator[Record]:
        self.withheld, client = 0, self._client
        message, secrets = await client._sealed_many(self._message)
        call = client._records.Scan(message, metadata=client._settings.metadata())
        try:
            async for page in call:
                for record in self._answered(page, secrets):
                    yield record
        except grpc.RpcError as failed:
            raise self._refused(failed) from None
        finally:
            call.cancel()


async def _sent(upload: Uploading, begin: asyncio.Future[int]) -> AsyncIterator[Any]:
    """The messages of one stream. After the first it waits for where to go on."""
    yield upload.first()
    for message in upload.rest(await begin):
        yield message
