"""`forewarn explain`: how one message becomes readings, step by step, or why it does not.

What comes of the message is said by the daemon's own decoder; the steps before it are taken with the same parts.
What a device sends is printed without what a terminal would act on.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from forewarn.errors import PayloadError
from forewarn.inputs.decoder import Decoded
from forewarn.inputs.dialect import Input, Presence, Request, Sample, Told
from forewarn.inputs.dialects import DIALECTS
from forewarn.inputs.feeds import Reading
from forewarn.monitors import Models, load_models
from forewarn.settings import Settings, load
from forewarn.wiring import decoder_of, inputs_of

_WIDTH = 10
_SHOWN = 100  # characters of a payload or a value


def explain(path: Path, topic: str, payload: bytes, *, retained: bool, now: float) -> Iterator[tuple[bool, str]]:
    """The steps as lines to print, each with whether it is a reading.

    Args:
        path: of the settings.
        topic: of the message.
        payload: of the message.
        retained: whether the broker had kept it.
        now: its arrival, UTC epoch seconds.

    Raises:
        SettingsError: the settings cannot be used.
        ModelError: the model cannot be used.
    """
    settings = load(path).settings
    inputs = inputs_of(settings.inputs)
    models = load_models(settings, inputs)
    yield False, _line("message", f"{topic!r}, {len(payload)} bytes: {_short(payload)}")
    yield from ((False, line) for line in _steps(inputs, topic, payload))
    try:
        decoded = decoder_of(settings, models.rest.card, models.cards).decode(topic, payload, retained, now)
    except PayloadError as error:
        yield False, _line("rejected", str(error))
        return
    yield from _outcome(settings, models, decoded)


def _steps(inputs: Sequence[Input], topic: str, payload: bytes) -> Iterator[str]:
    """Which input has the topic, and what the payload says to its dialect."""
    for i, one in enumerate(inputs, 1):
        match = one.pattern.match(topic)
        yield _line(f"input {i}", f"{one.pattern.text} ({one.dialect}) {'has' if match else 'has not'} the topic")
        if match is None:
            continue
        try:
            reader = DIALECTS[one.dialect].make(one).reader(match)
            if reader is None:
                yield _line("says", f"nothing: to {one.dialect} this topic is never a reading")
                return
            yield from (_line("says", _said(told)) for told in reader(payload, b""))
        except PayloadError:
            pass  # said by the decoder
        return


def _said(told: Told) -> str:
    if isinstance(told, Presence):
        return f"{told.device} is {'there' if told.online else 'going'}"
    if isinstance(told, Request):
        return f"something is missing: {told.topic} would be published"
    if isinstance(told, PayloadError):
        return str(told)
    at = "" if told.at is None else f" at {_moment(told.at)}"
    return f"{told.device} {told.metric} = {_value(told)}{at}"


def _value(sample: Sample) -> str:
    return f"{_short(repr(sample.value))} {sample.unit}".rstrip()


def _outcome(settings: Settings, models: Models, decoded: Decoded) -> Iterator[tuple[bool, str]]:
    for reading in decoded.readings:
        yield True, _line("reading", _judged(settings, reading))
        if models.monitors:
            yield False, _line("judged by", str(models.of(reading.key).path))
    yield from ((False, _line("rejected", str(error))) for error in decoded.rejected)
    if not decoded.readings and not decoded.rejected:
        metrics = "no reading by design, or no metric that `metrics` of the input asks for"
        yield False, _line("skipped", metrics)


def _judged(settings: Settings, reading: Reading) -> str:
    device, metric = reading.key
    values = ", ".join(f"{value:g}" for value in reading.values)
    unit = settings.units.get(metric, "")
    at = "its arrival" if reading.at is None else _moment(reading.at)
    how = ", as the first of a window" if reading.seed else ""
    root = f"{settings.publish.prefix}/{settings.instance}"
    return f"{device} {metric} {values} {unit}".rstrip() + f" at {at}{how}; alerts on {root}/alerts/{device}/{metric}"


def _line(step: str, text: str) -> str:
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return f"{step:{_WIDTH}}{printable}"


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"


def _short(text: str | bytes) -> str:
    shown = text if isinstance(text, str) else repr(text)[2:-1]
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
