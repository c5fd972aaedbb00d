"""Puts, patches, gets, lists and scans that are sealed before they are sent: for threads, and for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bailiwick import errors
from bailiwick._batch import Ends
from bailiwick._core import Record, Settings
from bailiwick._messages import record_of
from bailiwick._sealing import Bodies, Secrets, Tries, placed, region_of, regions_of, resolve_of
from bailiwick.sealed import AnswerSecret, TransitKey
from bailiwick.v1 import transit_pb2

#: Messages as they leave, and what opens the answer to each.
Sealed = list[tuple[Any, AnswerSecret | None]]


def read_all(
    bodies: Bodies, asked: Sequence[Any], sent: Sealed, ends: Ends
) -> list[Record | errors.BailiwickError]:
    """The records of a batch, or why each cannot be read."""
    results: list[Record | errors.BailiwickError] = []
    for message, (_, secret), (end, ok, _) in zip(asked, sent, ends):
        try:
            record = bodies.decrypted(bodies.opened(end, secret), message) if ok else None
            results.append(end if record is None else record_of(record))
        except errors.BailiwickError as error:
            results.append(error)
    return results


class SealedCalls:
    """What :class:`bailiwick.Client` has of it."""

    _bodies: Bodies
    _settings: Settings
    _records: Any
    _subjects: Any
    _transit: Any
    _call: Callable[..., tuple[Any, bool]]

    def _sealed(
        self, send: Callable[[Any], tuple[Any, bool]], message: Any
    ) -> tuple[Any, bool, AnswerSecret | None]:
        """Sends a message, sealed if this client seals. Gives the answer too, and what opens it."""
        tries = Tries(self._bodies, self._settings.homes)
        while True:
            sent, secret = self._bodies.seal(message, self._key(message))
            try:
                answer, once = send(sent)
                return answer, once and tries.first, secret
            except errors.Refused as refused:
                tries.again(refused, message)

    def _sealed_all(self, messages: Sequence[Any]) -> Sealed:
        return [self._bodies.seal(message, self._key(message)) for message in messages]

    def _key(self, message: Any) -> TransitKey | None:
        bodies, region = self._bodies, region_of(message)
        if not bodies.seals:
            return None
        if not region:
            question = resolve_of(message)
            region = placed(self._call(self._subjects.ResolvePlacement, question)[0])
        return self._key_of(region)

    def _key_of(self, region: str) -> TransitKey:
        known = self._bodies.known(region)
        if known is not None:
            return known
        request = transit_pb2.GetTransitKeyRequest(region=region)
        return self._bodies.keep(region, self._call(self._transit.GetKey, request)[0].note)

    def _sealed_many(self, message: Any) -> tuple[Any, Secrets]:
        regions = regions_of(message) if self._bodies.seals else []
        return self._bodies.seal_many(message, [self._key_of(region) for region in regions])

    def _listed(self, message: Any) -> tuple[Any, Secrets]:
        """A page of a list, and what opens its bodies."""
        for last in (False, True):
            sent, secrets = self._sealed_many(message)
            try:
                return self._call(self._records.List, sent)[0], secrets
            except errors.Refused as refused:
                if not self._bodies.unknown(refused) or last:
                    raise
        raise AssertionError("the last try has raised")


class AsyncSealedCalls:
    """What :class:`bailiwick.aio.AsyncClient` has of it."""

    _bodies: Bodies
    _settings: Settings
    _records: Any
    _subjects: Any
    _transit: Any
    _call: Callable[..., Awaitable[tuple[Any, bool]]]

    async def _sealed(
        self, send: Callable[[Any], Awaitable[tuple[Any, bool]]], message: Any
    ) -> tuple[Any, bool, AnswerSecret | None]:
        tries = Tries(self._bodies, self._settings.homes)
        while True:
            sent, secret = self._bodies.seal(message, await self._key(message))
            try:
                answer, once = await send(sent)
                return answer, once and tries.first, secret
            except errors.Refused as refused:
                tries.again(refused, message)

    async def _sealed_all(self, messages: Sequence[Any]) -> Sealed:
        return [self._bodies.seal(message, await self._key(message)) for message in messages]

    async def _key(self, message: Any) -> TransitKey | None:
        bodies, region = self._bodies, region_of(message)
        if not bodies.seals:
            return None
        if not region:
            question = resolve_of(message)
            region = placed((await self._call(self._subjects.ResolvePlacement, question))[0])
        return await self._key_of(region)

    async def _key_of(self, region: str) -> TransitKey:
        known = self._bodies.known(region)
        if known is not None:
            return known
        request = transit_pb2.GetTransitKeyRequest(region=region)
        answer, _ = await self._call(self._transit.GetKey, request)
        return self._bodies.keep(region, answer.note)

    async def _sealed_many(self, message: Any) -> tuple[Any, Secrets]:
        regions = regions_of(message) if self._bodies.seals else []
        return self._bodies.seal_many(message, [await self._key_of(region) for region in regions])

    async def _listed(self, message: Any) -> tuple[Any, Secrets]:
        for last in (False, True):
            sent, secrets = await self._sealed_many(message)
            try:
                return (await self._call(self._records.List, sent))[0], secrets
            except errors.Refused as refused:
                if not self._bodies.unknown(refused) or last:
                    raise
        raise AssertionError("the last try has raised")
