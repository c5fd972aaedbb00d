"""Streams of the client for threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from bailiwick._transfer import Uploading


class Patience:
    """Cancels a stream that says nothing for too long."""

    def __init__(self, call: Any, seconds: float) -> None:
        self._call, self._seconds = call, seconds
        self._timer: threading.Timer | None = None
        self.again()

    def again(self) -> None:
        self.end()
        self._timer = threading.Timer(self._seconds, self._call.cancel)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def sent(upload: Uploading, begin: queue.SimpleQueue[int | None]) -> Iterator[Any]:
    """The messages of one stream. After the first it waits for where to go on."""
    yield upload.first()
    at = begin.get()
    if at is not None:
        yield from upload.rest(at)
