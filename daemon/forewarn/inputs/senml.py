"""The `senml` and `senml-cbor` dialects: Sensor Measurement Lists (RFC 8428) as JSON and as CBOR.

Rules that hold here:

- A pack is read as a whole: one that must not be used (a later version, a label that ends with `_`) gives nothing.
- The device and the metric come from the resolved name, so a sender may split it between `bn` and `n` as it likes.
- Of CBOR only what section 6 uses is decoded: a tag other than a decimal fraction could be a regular expression.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from forewarn.core.readings import Rejection
from forewarn.errors import PayloadError, SettingsError
from forewarn.inputs.dialect import Input, Reader, Sample, told_name
from forewarn.inputs.json_paths import parse_json
from forewarn.inputs.topics import Topic

_MOST_RECORDS = 2000
_VERSION = 10  # section 4.1
_ABSOLUTE_FROM = 2.0**28  # section 4.5.3: a smaller time is relative to now
_LABELS = dict(
    enumerate(["bs", "bv", "bu", "bt", "bn", "bver", "n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"], -6)
)  # section 6, table 4
_TYPES = {"bn": str, "n": str, "bu": str, "u": str}
# The device of a DEV URN (RFC 9039) ends with its identifier; what follows is a part of it.
_URN = re.compile(r"(urn:dev:[^:/_;]+:[^:/_;]+)[:/_;]*(.*)", re.DOTALL)
_SEPARATORS = ":/._-"
# What a quantity without a name of its own is called by its unit (section 12.1). The registry's C and F are coulomb
# and farad, where others mean degrees.
_QUANTITIES = {"Cel": "temperature", "K": "temperature", "%RH": "humidity", "%EL": "battery", "/": "ratio"}
_UNITS = {"C": "coulomb", "F": "farad"}
_TAGS = (0, 1, 2, 3, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43_000, 55_799)
_MARK = b"\xd9\xd9\xf7"  # says that CBOR follows (RFC 8949, section 3.4.6)


class Senml:
    """Packs as JSON."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input."""
        self._metric = source.metric

    def reader(self, topic: Topic) -> Reader:
        """A reader; a level of the topic that is named wins over the name in the record."""
        device, metric = topic.names.get("device"), topic.names.get("metric")

        def read(payload: bytes, _properties: bytes) -> Iterator[Sample | PayloadError]:
            pack = self._parse(payload)
            if not isinstance(pack, list):
                raise PayloadError(Rejection.MALFORMED, "a pack is an array of records (RFC 8428, section 4)")
            if len(pack) > _MOST_RECORDS:
                raise PayloadError(Rejection.MALFORMED, f"more than {_MOST_RECORDS} records")
            base: dict[str, Any] = {}
            for record in pack:
                fields = _checked(record)
                base.update((label, value) for label, value in fields.items() if label[:1] == "b")
                if "v" not in fields:  # base fields alone, a text, a switch, data, or a sum
                    continue
                try:
                    yield self._sample(base, fields, device, metric)
                except PayloadError as error:  # made anew, as its traceback would keep the whole pack
                    yield PayloadError(error.reason, error.detail)

        return read

    def _parse(self, payload: bytes) -> object:
        if _is_cbor(payload):
            raise PayloadError(Rejection.MALFORMED, 'this is CBOR: dialect = "senml-cbor" reads it')
        return parse_json(payload)

    def _sample(
        self, base: Mapping[str, Any], fields: Mapping[str, Any], device: str | None, metric: str | None
    ) -> Sample:
        """Of one record (section 4.6)."""
        first, own = base.get("bn", ""), fields.get("n", "")
        unit = fields.get("u", base.get("bu", ""))
        named, part = _split(first, own)
        at = _time(base.get("bt", 0.0), fields.get("t", 0.0))
        absolute = at >= _ABSOLUTE_FROM
        return Sample(
            named if device is None else device,
            metric or part or self._metric or _QUANTITIES.get(unit) or unit.replace("/", "_") or "value",
            _value(base.get("bv", 0.0), fields["v"]),
            at if absolute else None,
            _UNITS.get(unit, unit),
            0.0 if absolute else at,
        )


class SenmlCbor(Senml):
    """Packs as CBOR or JSON, whichever comes: no JSON text begins with a byte from 80 on, and each CBOR array does."""

    def __init__(self, source: Input) -> None:
        """Read the messages of this input.

        Raises:
            SettingsError: where cbor2 is not installed.
        """
        super().__init__(source)
        self._decode = _decoder()

    def _parse(self, payload: bytes) -> object:
        return self._decode(payload) if _is_cbor(payload) else parse_json(payload)


def _decoder() -> Callable[[bytes], object]:
    try:
        import cbor2  # noqa: PLC0415 - an extra that only this dialect needs
    except ImportError:
        raise SettingsError("inputs: dialect \"senml-cbor\" needs cbor2: pip install 'forewarn[cbor]'") from None

    def refuse(*_: object) -> object:
        raise ValueError("a tag that no pack has")

    decoders = dict.fromkeys(_TAGS, refuse)

    def decode(payload: bytes) -> object:
        try:
            return cbor2.loads(payload.removeprefix(_MARK), semantic_decoders=decoders, max_depth=16)
        except (cbor2.CBORError, ValueError, TypeError, OverflowError) as error:
            raise PayloadError(Rejection.MALFORMED, f"no CBOR: {error}"[:120]) from error

    return decode


def _is_cbor(payload: bytes) -> bool:
    return payload[:1] >= b"\x80" and not payload.startswith(b"\xef\xbb\xbf")


def _checked(record: object) -> dict[str, Any]:
    """The fields of a record by their label."""
    if not isinstance(record, dict):
        raise PayloadError(Rejection.MALFORMED, "a record is an object (RFC 8428, section 4)")
    fields: dict[Any, Any] = {
        _LABELS.get(key, key) if type(key) is int else key: value for key, value in record.items()
    }
    for label, value in fields.items():
        if not isinstance(label, str):
            raise PayloadError(Rejection.MALFORMED, "a label is neither text nor one of the integers of the RFC")
        if label[-1:] == "_":
            raise PayloadError(Rejection.MALFORMED, f"{label[:40]!r} must be understood (section 4.4)")
        if label in _TYPES and not isinstance(value, str):
            raise PayloadError(Rejection.MALFORMED, f"{label!r} is no text")
    version = fields.get("bver", _VERSION)
    if type(version) is not int or not 0 < version <= _VERSION:
        raise PayloadError(Rejection.MALFORMED, f"the version is not 1 to {_VERSION} (section 4.4)")
    return fields


def _split(first: str, own: str) -> tuple[str, str]:
    """Device and metric of a resolved name; no metric where the name is that of a device."""
    name = first + own
    urn = _URN.fullmatch(name)
    if urn:
        return urn[1], urn[2].replace("/", ":")
    *levels, last = name.split("/")
    if levels:
        return told_name(*levels), last
    if first and own:
        return first.rstrip(_SEPARATORS), own.lstrip(_SEPARATORS)
    return name, ""


def _value(base: object, own: object) -> object:
    """Base value and value together (section 4.5.4); what is no number is left to be told as such."""
    offset = _float(base, Rejection.NOT_NUMBER)
    try:
        if isinstance(own, Decimal) or (offset and isinstance(own, int | float) and not isinstance(own, bool)):
            return float(own) + offset
    except (ValueError, OverflowError):
        pass
    return own


def _time(base: object, own: object) -> float:
    seconds = _float(base, Rejection.BAD_TIME) + _float(own, Rejection.BAD_TIME)
    if math.isfinite(seconds):
        return seconds
    raise PayloadError(Rejection.BAD_TIME, "a time is not finite")


def _float(value: object, otherwise: Rejection) -> float:
    try:
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise PayloadError(otherwise, f"{type(value).__name__} where a number is needed")
