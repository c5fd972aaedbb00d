"""The client for threads. Its methods are those of :class:`bailiwick.aio.AsyncClient`."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import grpc

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
from bailiwick._sealed_calls import SealedCalls, read_all
from bailiwick._sealing import Bodies
from bailiwick._subjects import SubjectCalls
from bailiwick._thread_lanes import ThreadLanes
from bailiwick._thread_streams import Patience, sent
from bailiwick._transfer import Attachment, Downloading, Source, Uploadable, Uploading
from bailiwick._watch import Changes, Watching
from bailiwick.sealed import CallerKeys
from bailiwick.v1 import (
    attachments_pb2_grpc,
    jurisdiction_pb2,
    operations_pb2_grpc,
    records_pb2_grpc,
    subjects_pb2_grpc,
    transit_pb2_grpc,
)

A = TypeVar("A")


class Client(SealedCalls, SubjectCalls):
    """A client of one gateway. It may be used by many threads, and ends with :meth:`close`. With
    ``identities``, one a region (`bailiwick shard show-transit-key`), bodies are sealed to their region;
    with ``own_keys`` they are encrypted under the caller's own. See :mod:`bailiwick.sealed`."""

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
        self._lanes = ThreadLanes(lanes, lambda: self._connect(own=True))
        self._records = records_pb2_grpc.RecordsStub(self._channel)
        self._subjects = subjects_pb2_grpc.SubjectsStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)
        self._attachments = attachments_pb2_grpc.AttachmentsStub(self._channel)
        self._transit = transit_pb2_grpc.TransitStub(self._channel)

    def _connect(self, own: bool = False) -> grpc.Channel:
        target, secure = self._settings.target()
        options = self._settings.channel_options(own)
        if secure:
            credentials = self._settings.credentials()
            return grpc.secure_channel(target, credentials, options=options)
        return grpc.insecure_channel(target, options=options)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections."""
        self._lanes.close()
        self._channel.close()

    def put(
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
        """Puts a record, and checks the answer and its receipt against the request. ``proof`` asks for
        the proof that the log has the entry (:func:`bailiwick.verify_receipt`). Without
        ``request_id`` the put is a new one; give the same one to put it again. ``participants``
        are the people besides the owner that the record is about, by subject and domicile. With
        ``lanes``, puts that several threads make at the same time travel on a few streams."""
        put = Put(
            subject, collection, key, body, domicile, tuple(evidence), create_subject, if_version,
            etag, validate_only, proof, request_id, attributes or {}, tuple(participants),
            expire_time,
        )
        message = self._bodies.encrypted(api.put_message(put))
        answer, once, _ = self._sealed(self._put, message)
        return api.check_put(message, answer, self._settings.tenant, once and not request_id)

    def get(
        self, subject: str, collection: str, key: str, *, domicile: str, purpose: str = ""
    ) -> Record:
        """Reads a record. A collection whose reads are logged wants a ``purpose``, for the log: why it
        is read, in words that name no person."""
        message = api.get_message(subject, domicile, collection, key, purpose)
        answer, _, secret = self._sealed(lambda sent: self._call(self._records.Get, sent), message)
        return api.record_of(self._bodies.decrypted(self._bodies.opened(answer, secret), message))

    def patch(
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
        """Changes the body of a record or some of its attributes, and checks the answer and its
        receipt. What is not named stays."""
        message = api.patch_message(
            subject, domicile, collection, key, body, attributes or {}, remove_attributes,
            if_version, etag, validate_only, proof, request_id,
        )
        message = self._bodies.encrypted(message)
        answer, once, _ = self._sealed(
            lambda sent: self._call(self._records.Patch, sent), message
        )
        return api.check_patch(message, answer, self._settings.tenant, once and not request_id)

    def delete(
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
        """Deletes a record, and checks the answer and its receipt."""
        message = api.delete_message(
            subject, domicile, collection, key, if_version, etag, validate_only, proof, request_id
        )
        answer, once = self._call(self._records.Delete, message)
        return api.check_delete(message, answer, self._settings.tenant, once and not request_id)

    def create_subject(
        self,
        subject: str,
        collection: str,
        evidence: Iterable[Evidence],
        *,
        domicile: str = "",
        request_id: str = "",
    ) -> Written:
        """Creates a subject, and checks the answer and its receipt."""
        message = api.create_message(subject, collection, domicile, evidence, request_id)
        answer, once = self._call(self._subjects.Create, message)
        return api.check_create(message, answer, self._settings.tenant, once and not request_id)

    def resolve(self, collection: str, evidence: Iterable[Evidence]) -> jurisdiction_pb2.Ruling:
        """Asks where a record would go, and why. Nothing is stored."""
        message = api.resolve_message(collection, evidence)
        return self._call(self._subjects.ResolvePlacement, message)[0]

    def batch_put(self, puts: Sequence[Put], *, atomic: bool = False) -> batches.PutEnds:
        """Puts up to 1,000 records, of any subjects and regions: one outcome for each, in their
        order. What may succeed later is sent again. ``atomic``: all of one subject in one commit, or
        none."""
        messages = [self._bodies.encrypted(api.put_message(put)) for put in puts]
        sent = [one for one, _ in self._sealed_all(messages)]
        pack = batches.atomic_batch if atomic else batches.put_batch
        ends = self._batch(self._records.BatchPut, pack, sent)
        return batches.check_batch(puts, messages, ends, self._settings.tenant)

    def batch_delete(self, deletes: Sequence[Delete]) -> batches.PutEnds:
        """Deletes up to 1,000 records, of any subjects and regions: one outcome for each, in their
        order. What may succeed later is sent again."""
        messages = [api.batch_delete_message(one) for one in deletes]
        ends = self._batch(self._records.BatchDelete, batches.delete_batch, messages)
        return batches.check_batch(deletes, messages, ends, self._settings.tenant)

    def batch_get(
        self, records: Sequence[tuple[str, str, str, str]], *, purpose: str = ""
    ) -> batches.GetEnds:
        """Reads up to 1,000 records, each by subject, domicile, collection and key: one outcome for
        each, in their order. ``purpose`` is that of all of them, as in :meth:`get`."""
        messages = [api.get_message(*names, purpose) for names in records]
        sent = self._sealed_all(messages)
        ends = self._batch(
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
    ) -> Records:
        """All records of a subject, or of a collection in these regions, page after page. The next page
        is asked for when it is needed. ``participant``: only those that name this person."""
        of = lists.choice(collection, regions, subject, domicile, participant, filter, purpose)
        return Records(self, lists.list_message(of, order_by, view, page_size))

    def count(
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
        """Counts what :meth:`list` would give."""
        of = lists.choice(collection, regions, subject, domicile, participant, filter, purpose)
        return lists.count_of(self._call(self._records.Count, lists.count_message(of))[0])

    def watch(
        self,
        collection: str,
        *,
        region: str = "",
        subject: str = "",
        domicile: str = "",
        cursor: str = "",
        purpose: str = "",
    ) -> Iterator[Changes]:
        """Watches a collection in one region, or the records of a subject: what changes from now on,
        or after a cursor. It has no end; where the stream breaks it is opened again with the last
        cursor. A change may come twice. The first answer comes at once: list the records after it, and
        nothing is missed."""
        watching = Watching(
            self._settings, collection, region, subject, domicile, cursor, purpose
        )
        while True:
            call = self._records.Watch(watching.message, metadata=watching.metadata())
            try:
                for answer in call:
                    yield watching.answered(answer)
                wait = watching.pause(errors.ConnectionBroken("the watch ended"))
            except grpc.RpcError as failed:
                wait = watching.again(failed)
            finally:
                call.cancel()
            time.sleep(wait)

    def scan(
        self, collection: str, *, region: str, purpose: str, filter: str = "", bodies: bool = True
    ) -> Scan:
        """Reads all records of a collection in one region. Each scan has an entry in the placement
        log, with the purpose; one that breaks is not begun again by itself."""
        message = api.scan_message(collection, region, purpose, filter, bodies)
        return Scan(self, message)

    def upload(
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
        """Uploads an attachment of up to 1 GiB, and checks the answer and its receipt: the content is
        read twice more than it is sent, for its hash and for that check. An upload that is cut goes on
        where it was. The deadline of the client is the time for each MiB, not for the whole. An upload
        may create its subject, and name participants, as a put may."""
        self._bodies.refuse_plain()
        source = Source(content)
        try:
            upload = Uploading(
                self._settings, source, subject, domicile, collection, key, attributes or {},
                if_version, etag, expire_time, proof, request_id, create_subject, evidence,
                participants,
            )
            while True:
                begin: queue.SimpleQueue[int | None] = queue.SimpleQueue()
                call = self._attachments.Upload(sent(upload, begin), metadata=upload.metadata())
                patience = Patience(call, self._settings.deadline)
                try:
                    for count, answer in enumerate(call):
                        patience.again()
                        done = upload.answered(answer)
                        if done is not None:
                            return upload.check(done)
                        if count == 0:
                            begin.put(upload.stored)
                    wait = upload.cut()
                except grpc.RpcError as failed:
                    wait = upload.again(failed)
                finally:
                    patience.end()
                    # What waits to send ends too.
                    begin.put(None)
                    call.cancel()
                time.sleep(wait)
        finally:
            source.close()

    def download(
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
    ) -> Iterator[bytes]:
        """The bytes of an attachment, or of a part of it, as they come. A download that is cut goes on
        where it was, as long as the attachment is the same. The hash of a whole attachment is checked
        at the end (:class:`bailiwick.Altered`): until then, what came is not to be relied on."""
        self._bodies.refuse_plain()
        download = Downloading(
            self._settings, subject, domicile, collection, key, offset, length, etag, purpose
        )
        while True:
            call = self._attachments.Download(download.request, metadata=download.metadata())
            patience = Patience(call, self._settings.deadline)
            try:
                for answer in call:
                    patience.end()
                    if data := download.answered(answer):
                        yield data
                    patience.again()
                if download.ended():
                    return
                wait = download.cut()
            except grpc.RpcError as failed:
                if download.complete() and download.ended():
                    return
                wait = download.again(failed)
            finally:
                patience.end()
                call.cancel()
            time.sleep(wait)

    def stat(
        self, subject: str, collection: str, key: str, *, domicile: str, purpose: str = ""
    ) -> Attachment:
        """What an attachment is, without its body."""
        message = transfers.stat_message(subject, domicile, collection, key, purpose)
        return transfers.attachment_of(self._call(self._attachments.Stat, message)[0])

    def _call(self, method: Callable[..., A], message: Any) -> tuple[A, bool]:
        attempts = Attempts(self._settings)
        while True:
            try:
                answer = method(message, timeout=attempts.timeout(), metadata=attempts.metadata())
                return answer, attempts.once
            except grpc.RpcError as failed:
                time.sleep(attempts.again(failed, message))

    def _put(self, message: Any) -> tuple[Any, bool]:
        """A put, on a lane with others or as a call."""
        attempts, alone = Attempts(self._settings), False
        with self._lanes.under_way():
            while True:
                lane = None
                if not alone:
                    lane = self._lanes.put(message, attempts.until, attempts.bearer)
                try:
                    if lane is not None:
                        answer = outcome(lane.answer.result(attempts.timeout()))
                    else:
                        answer = self._records.Put(
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
                time.sleep(attempts.after(error, message))

    def _batch(
        self, method: Callable[..., Any], pack: Callable[..., Any], messages: Sequence[Any]
    ) -> batches.Ends:
        batch = batches.Batch(self._settings, messages)
        while True:
            try:
                answer, once = self._call(method, pack(batch.pending()))
            except errors.BailiwickError as error:
                return batch.failed(error)
            wait = batch.answered(answer.results, once)
            if wait is None:
                return batch.ends
            time.sleep(wait)


class Records(lists.Listing):
    """The records of a list, one after the other."""

    def __init__(self, client: Client, message: Any) -> None:
        super().__init__(message, client._bodies)
        self._client = client

    def __iter__(self) -> Iterator[Record]:
        asked, more = self._begin(), True
        while more:
            yield from self._answered(asked, *self._client._listed(asked))
            more = asked.page_token != ""


class Scan(lists.Scanning):
    """The records of a scan, one after the other."""

    def __init__(self, client: Client, message: Any) -> None:
        super().__init__(message, client._bodies)
        self._client = client

    def __iter__(self) -> Iterator[Record]:
        self.withheld, client = 0, self._client
        message, secrets = client._sealed_many(self._message)
        call = client._records.Scan(message, metadata=client._settings.metadata())
        try:
            for page in call:
                yield from self._answered(page, secrets)
        except grpc.RpcError as failed:
            raise self._refused(failed) from None
        finally:
            call.cancel()
