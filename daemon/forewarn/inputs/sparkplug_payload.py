"""The protobuf message of Sparkplug B, as far as readings need it; other fields are skipped unread.

Source: Eclipse Sparkplug 3.0.0, "Google Protocol Buffer Schema", for numbers and types. Names are declared as bytes,
which have the same form, since protobuf would refuse a whole message for one name that is no UTF-8.
"""

from functools import cache
from typing import Any

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError

Message = Any
"""What protobuf makes at run time."""

_PACKAGE = "forewarn.sparkplug"
_PAYLOAD = {"timestamp": (1, "UINT64"), "seq": (3, "UINT64"), "uuid": (4, "BYTES")}
_METRIC = {
    "name": (1, "BYTES"),
    "alias": (2, "UINT64"),
    "timestamp": (3, "UINT64"),
    "datatype": (4, "UINT32"),
    "is_historical": (5, "BOOL"),
    "is_null": (7, "BOOL"),
}
_VALUE = {
    "int_value": (10, "UINT32"),
    "long_value": (11, "UINT64"),
    "float_value": (12, "FLOAT"),
    "double_value": (13, "DOUBLE"),
    "boolean_value": (14, "BOOL"),
}
_COMPRESSED = b"SPBV1.0_COMPRESSED"


@cache
def payload_class() -> Message:
    """The class of the message, made at its first use, since protobuf takes 7 MB and others need it not."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415 - see above

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug", package=_PACKAGE, syntax="proto2")
    payload, metric = file.message_type.add(name="Payload"), file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for message, fields in ((payload, _PAYLOAD), (metric, _METRIC | _VALUE)):
        for name, (number, kind) in fields.items():
            made = message.field.add(name=name, number=number, label=field.LABEL_OPTIONAL)
            made.type = getattr(field, f"TYPE_{kind}")
            if name in _VALUE:
                made.oneof_index = 0
    metrics = payload.field.add(name="metrics", number=2, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE)
    metrics.type_name = f".{_PACKAGE}.Metric"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


def parse(payload: bytes) -> Message:
    """The message.

    Raises:
        PayloadError: `malformed`.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - see above

    try:
        message = payload_class().FromString(payload)
    except DecodeError as error:
        raise PayloadError(Rejection.MALFORMED, "no protobuf of Sparkplug B") from error
    if message.uuid == _COMPRESSED:
        raise PayloadError(Rejection.MALFORMED, "compressed: switch the compression off at the edge node")
    return message


def rebirth(timestamp: int) -> bytes:
    """The command that asks an edge node for its births ("Rebirth Request")."""
    metric = {"name": b"Node Control/Rebirth", "timestamp": timestamp, "datatype": 11, "boolean_value": True}
    request: bytes = payload_class()(timestamp=timestamp, metrics=[metric]).SerializeToString()
    return request
