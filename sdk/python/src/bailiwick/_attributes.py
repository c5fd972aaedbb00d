"""Attributes of records: from values of Python to the API's, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from bailiwick.v1 import records_pb2

#: What an attribute may be: the region map declares which. A moment has a time zone.
AttributeValue = str | int | bool | datetime


def to_api(attributes: Mapping[str, AttributeValue]) -> list[records_pb2.Attribute]:
    return [_one(name, value) for name, value in attributes.items()]


def _one(name: str, value: AttributeValue) -> records_pb2.Attribute:
    one = records_pb2.Attribute(name=name)
    # A bool is an int too.
    if isinstance(value, bool):
        one.bool_value = value
    elif isinstance(value, int):
        one.integer_value = value
    elif isinstance(value, str):
        one.string_value = value
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        one.timestamp_value.FromDatetime(value)
    else:
        raise TypeError("an attribute is a str, an int, a bool or a datetime")
    return one


def of_api(attributes: Iterable[records_pb2.Attribute]) -> dict[str, AttributeValue]:
    return {one.name: _value(one) for one in attributes}


def _value(one: records_pb2.Attribute) -> AttributeValue:
    kind = one.WhichOneof("value")
    if kind == "timestamp_value":
        return one.timestamp_value.ToDatetime(tzinfo=UTC)
    return getattr(one, kind or "string_value")
