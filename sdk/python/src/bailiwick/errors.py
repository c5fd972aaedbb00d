"""Why a call has no answer, and whether the same request may be sent again. No error holds what was
sent."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "bailiwick.v1"
RETRY_AFTER_MAX = 24 * 60 * 60.0


class BailiwickError(Exception):
    """Every error of this package."""

    #: Seconds after which the same request, with the same request_id, may be sent again; None: not.
    retry_after: float | None = None


class Refused(BailiwickError):
    """The gateway said no. There is a subclass for each gRPC code that it uses."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        field: str | None = None,
        help: str | None = None,
        call_id: str | None = None,
        metadata: dict[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        #: The stable name, as in docs/errors.md.
        self.reason = reason
        #: One sentence for a person.
        self.message = message
        #: The path of the field at fault, as in ``evidence[3].value``.
        self.field = field
        #: What would cure it.
        self.help = help
        #: The id that the gateway's log has for this call.
        self.call_id = call_id
        #: The other details, by key.
        self.metadata = metadata or {}
        self.retry_after = retry_after

    @property
    def region(self) -> str | None:
        """The region that the refusal is about, if it names one."""
        return self.metadata.get("region")


class InvalidRequest(Refused):
    """The request is wrong, whatever is stored."""


class NotAllowedNow(Refused):
    """The rules, or what is stored, do not allow it."""


class NotFound(Refused):
    """There is no such subject or record."""


class AlreadyExists(Refused):
    """It is there already."""


class Conflict(Refused):
    """A condition on a version was not met."""


class Unauthenticated(Refused):
    """The caller is not known, or its credentials are not valid."""


class PermissionDenied(Refused):
    """The caller may not do this."""


class Busy(Refused):
    """A limit is reached. It passes."""


class Unavailable(Refused):
    """Not now. It passes."""


class OutcomeUnknown(Unavailable):
    """The write was sent and has no answer. The same request_id settles whether it happened."""


class DeadlinePassed(Refused):
    """The gateway's time for the call was up."""


class Failed(Refused):
    """A fault of the deployment: report the call_id."""


class ConnectionBroken(BailiwickError):
    """No gateway answers, or the connection broke. The same request_id settles whether a write
    happened."""

    retry_after = 0.0


class TimedOut(BailiwickError):
    """The deadline passed before there was an answer. The same request_id settles whether a write
    happened."""


class TooLarge(BailiwickError):
    """The request has more bytes than a gateway takes, and was not sent."""


class NotBailiwick(BailiwickError):
    """What answered is no Bailiwick gateway."""


class Unproven(BailiwickError):
    """The answer came, and its receipt does not prove the write that was asked for."""


class Altered(BailiwickError):
    """The bytes of an attachment came, and do not have the hash that its region states."""


_BY_CODE: dict[grpc.StatusCode, type[Refused]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.FAILED_PRECONDITION: NotAllowedNow,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Busy,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlinePassed,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
#: Without a reason of ours it was not the gateway that spoke, but the connection.
_BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
)


def of_status(status: status_pb2.Status) -> BailiwickError:
    """The error of a status message, as an item of a batch has it."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    found = {}
    for detail in status.details:
        for message in (info, bad, retry):
            if detail.Is(message.DESCRIPTOR):
                found[message.DESCRIPTOR.name] = detail.Unpack(message)
    if not found.get("ErrorInfo") or info.domain != DOMAIN:
        return NotBailiwick(f"the peer answered {code.name} without a reason of Bailiwick's")
    delay = None
    if found.get("RetryInfo"):
        seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        delay = min(max(seconds, 0.0), RETRY_AFTER_MAX)
    passes = code == grpc.StatusCode.UNAVAILABLE or (
        code == grpc.StatusCode.RESOURCE_EXHAUSTED and delay is not None
    )
    metadata = dict(info.metadata)
    kind = _BY_CODE.get(code, Failed)
    if info.reason == "WRITE_OUTCOME_UNKNOWN":
        kind = OutcomeUnknown
    return kind(
        info.reason,
        status.message,
        field=bad.field_violations[0].field if bad.field_violations else None,
        help=metadata.pop("cure", None),
        call_id=metadata.pop("call_id", None),
        metadata=metadata,
        retry_after=(delay or 0.0) if passes else None,
    )


def of_rpc(error: grpc.RpcError) -> BailiwickError:
    """The error of a call that failed."""
    code = error.code()
    trailers = error.trailing_metadata() or ()
    details = [item[1] for item in trailers if item[0] == "grpc-status-details-bin"]
    if details:
        try:
            status = status_pb2.Status.FromString(details[0])
        except Exception:
            return NotBailiwick("the peer's answer ends with a malformed status")
        if status.code == code.value[0]:
            return of_status(status)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOut("the gateway did not answer in time")
    if code in _BROKEN:
        return ConnectionBroken("the connection to the gateway broke, or nothing answers there")
    return NotBailiwick(f"the peer answered {code.name} without a reason of Bailiwick's")
