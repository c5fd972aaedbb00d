"""Python client of Bailiwick, which stores each person's record in the territory whose law claims it.

>>> from bailiwick import Client, Evidence
>>> client = Client("http://127.0.0.1:7400")
>>> put = client.put("p-1", "profiles", "main", b"hello", create_subject=True,
...                  evidence=[Evidence("residence", "DE")])
>>> client.get("p-1", "profiles", "main", domicile=put.domicile).body
b'hello'

Every write's answer is checked against what was sent: its receipt names that very write. Calls are
made again, under the same request id, where the errors say that they may be.
"""

from bailiwick._attributes import AttributeValue
from bailiwick._core import Delete, Evidence, Put, Record, Tls, Written, new_request_id
from bailiwick._list import Count
from bailiwick._subjects import Changed
from bailiwick._transfer import Attachment, Uploadable
from bailiwick._watch import Change, Changes
from bailiwick.aio import AsyncClient
from bailiwick.client import Client
from bailiwick.errors import (
    AlreadyExists,
    Altered,
    BailiwickError,
    Busy,
    Conflict,
    ConnectionBroken,
    DeadlinePassed,
    Failed,
    InvalidRequest,
    NotAllowedNow,
    NotBailiwick,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    Refused,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unproven,
)
from bailiwick.receipts import Checkpoint, Entry, verify_receipt
from bailiwick.sealed import CallerKey, CallerKeys, NotOpened, NotSealed

__all__ = [
    "AlreadyExists",
    "Altered",
    "AsyncClient",
    "Attachment",
    "AttributeValue",
    "BailiwickError",
    "Busy",
    "CallerKey",
    "CallerKeys",
    "Change",
    "Changed",
    "Changes",
    "Checkpoint",
    "Client",
    "Conflict",
    "ConnectionBroken",
    "Count",
    "DeadlinePassed",
    "Delete",
    "Entry",
    "Evidence",
    "Failed",
    "InvalidRequest",
    "NotAllowedNow",
    "NotBailiwick",
    "NotFound",
    "NotOpened",
    "NotSealed",
    "OutcomeUnknown",
    "PermissionDenied",
    "Put",
    "Record",
    "Refused",
    "TimedOut",
    "Tls",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unproven",
    "Uploadable",
    "Written",
    "new_request_id",
    "verify_receipt",
]
