import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forewarn.core.alerts import (
    Alert,
    AlertChange,
    AlertCleared,
    AlertRaised,
    AlertUpdated,
    Kind,
    SeriesEvicted,
    Severity,
)
from forewarn.core.engine import Engine
from forewarn.core.patterns import Choice
from forewarn.core.ports import Forecast
from forewarn.core.readings import SeriesKey, SeriesState
from forewarn.core.rules import Limits, Rules
from forewarn.errors import PayloadError
from forewarn.inputs.topics import checked_name
from forewarn.messages import ModelTold, Outgoing, Phrasebook, sentence, span
from tests.core.streams import batch, stream
from tests.forecasters import HalfTrend, card
from tests.thorough import examples

SCHEMAS = Path(__file__).parents[1] / "docs" / "schema"
MODEL = {"name": "test", "version": "1", "sha256": "0" * 64}
PHRASES = Phrasebook("forewarn/gw", Choice(ModelTold(MODEL, "°C")), {"humidity": "%"})
LIMITS = Limits(low=-45.0, high=55.0, max_rate_per_s=3.0, limit_below=-15.0, limit_above=22.0)
PLAIN = Rules(
    detector="residual",
    raise_after=1,
    clear_after=2,
    stuck_min_run=6,
    update_every_s=20.0,
    max_series=4,
    limits=(LIMITS,),
)
QUICK = replace(PLAIN, detector="tail", sensitivity=5.0)


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


VALIDATORS = {name: validator(name) for name in ("alert", "state", "forecast")}


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def checked(message: Outgoing, name: str) -> dict[str, Any]:
    """The document of a message that is as its schema says, in JSON as RFC 8259 has it."""
    document = json.loads(message.payload, parse_constant=refuse)
    VALIDATORS[name].validate(document)
    branch = {"alert": "alerts"}.get(name, name)
    assert message.topic == f"forewarn/gw/{branch}/{document['device']}/{document['metric']}"
    assert dict(document) == document
    found: dict[str, Any] = document
    return found


def alert(**changes: Any) -> Alert:  # noqa: ANN401 - any field
    of = Alert(
        id="0123456789abcdef",
        kind=Kind.RESIDUAL,
        severity=Severity.WARNING,
        series=SeriesKey("freezer-3", "temperature"),
        slot=0,
        value=9.83,
        expected=4.12,
        lower=3.5,
        upper=4.74,
        residual=5.71,
        score=12.0,
        threshold=8.0,
        at=1000.0,
        received_at=1000.5,
        raised_at=1000.0,
        window_started_at=700.0,
    )
    return replace(of, **changes)


class Moved(HalfTrend):
    """Says that a reading which moved by more than 6 does not go together with the others."""

    def __init__(self) -> None:
        super().__init__(replace(card(), multivariate=True))

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        moved = np.abs(windows[:, -1] - windows[:, -2]) / np.float32(6.0)
        return super().forecast(windows, spread, at)._replace(t_squared=moved)


# -- what the engine makes ------------------------------------------------------------------------------------------


def messages(seed: int, rules: Rules = QUICK, n: int = 400, n_device: int = 6) -> Iterator[tuple[str, Outgoing]]:
    """Every message that a random stream gives rise to, with the name of its schema."""
    engine, phrases = Engine(Moved(), rules), PHRASES
    rows = stream(seed, n=n, n_device=n_device)
    for start in range(0, len(rows), 25):
        part = batch(rows[start : start + 25])
        verdicts = engine.ingest(part)
        quiet_until = float(part.received_at[-1]) + (5000.0 if start % 100 == 0 else 0.0)
        for event in [*verdicts.events, *engine.tick(quiet_until, 0.0)]:
            if isinstance(event, SeriesEvicted):
                continue
            yield "alert", phrases.alert(event)
        yield from (("forecast", phrases.forecast(part, 0, verdicts, row)) for row in range(len(part)))
        fleet = engine.fleet()
        yield from (("state", phrases.state(fleet, slot, engine.alerts(slot))) for slot in fleet.slot.tolist())


@given(seed=st.integers(0, 10_000), rules=st.sampled_from([PLAIN, QUICK]))
@settings(max_examples=examples(6), deadline=None)
def test_every_message_of_a_random_stream_is_as_its_schema_says(seed: int, rules: Rules) -> None:
    for name, message in messages(seed, rules):
        checked(message, name)
        assert (message.qos, message.retain) == {"alert": (1, False), "state": (1, True), "forecast": (0, False)}[name]


def test_random_streams_have_every_kind_of_message_in_them() -> None:
    found = set()
    several = [messages(seed, PLAIN) for seed in range(12)]
    longer = [messages(seed, rules, n=1500, n_device=3) for seed in range(3) for rules in (PLAIN, QUICK)]
    for some in [*several, *longer]:
        for name, message in some:
            document = json.loads(message.payload)
            found.add((name, document.get("kind"), document.get("type"), document.get("state"), document.get("status")))
    kinds = {(kind, change) for name, kind, change, _, _ in found if name == "alert"}
    assert kinds == {(k, c) for k in Kind for c in ("raised", "updated", "cleared")} - {("silent", "updated")}
    assert {state for name, _, _, state, _ in found if name == "state"} == {"warming_up", "ok", "alert"}
    assert {status for name, _, _, _, status in found if name == "forecast"} == {
        *("scored", "warming_up", "not_finite", "out_of_range", "from_future", "duplicate", "out_of_order", "retained")
    }


@pytest.mark.parametrize("name", VALIDATORS)
def test_a_schema_takes_every_field_and_no_other(name: str) -> None:
    document = next(json.loads(message.payload) for kind, message in messages(1) if kind == name)
    accepts = VALIDATORS[name].is_valid
    assert accepts(document)
    assert not accepts({**document, "more": 1})
    for field in document:
        assert not accepts({key: value for key, value in document.items() if key != field}), field
        assert not accepts({**document, field: object()}), field
    assert not accepts({**document, "schema": f"forewarn.{name}/2"})
    assert not accepts({**document, "device": "a/b"})
    assert not accepts({**document, "device": ""})


def test_an_alert_is_the_same_from_schema_to_sentence() -> None:
    document = checked(PHRASES.alert(AlertUpdated(alert(at=1120.5, severity=Severity.CRITICAL))), "alert")
    assert document == {
        "schema": "forewarn.alert/1",
        "id": "0123456789abcdef",
        "sequence": 1,
        "type": "updated",
        "kind": "residual",
        "severity": "critical",
        "device": "freezer-3",
        "metric": "temperature",
        "unit": "°C",
        "value": 9.83,
        "expected": 4.12,
        "lower": 3.5,
        "upper": 4.74,
        "residual": 5.71,
        "score": 12.0,
        "threshold": 8.0,
        "at": 1120.5,
        "received_at": 1000.5,
        "raised_at": 1000.0,
        "duration_s": 120.5,
        "window_started_at": 700.0,
        "limit": None,
        "lead_s": None,
        "probability": None,
        "conversion": None,
        "feature": None,
        "stream": None,
        "observed": None,
        "usual": None,
        "since_at": None,
        "once_in_months": None,
        "model": MODEL,
        "sentence": "freezer-3 still reads 9.8 °C; 4.1 ± 0.6 °C was expected",
    }


def test_a_unit_is_that_of_the_metric_or_else_of_the_model() -> None:
    def unit(metric: str) -> object:
        return checked(PHRASES.alert(AlertRaised(alert(series=SeriesKey("d", metric)))), "alert")["unit"]

    assert (unit("humidity"), unit("temperature")) == ("%", "°C")
    assert "9.8; 4.1 ± 0.6 was expected" in sentence(AlertRaised(alert()), "")


def test_the_status_is_retained_and_plain() -> None:
    assert PHRASES.status(online=True) == Outgoing("forewarn/gw/status", "online", qos=1, retain=True)
    assert PHRASES.status(online=False) == Outgoing("forewarn/gw/status", "offline", qos=1, retain=True)


def test_a_state_is_removed_by_an_empty_retained_message() -> None:
    assert PHRASES.no_state(SeriesKey("d", "t")) == Outgoing("forewarn/gw/state/d/t", "", qos=1, retain=True)


def test_what_is_not_finite_is_null() -> None:
    engine = Engine(HalfTrend(), replace(QUICK, limits=()))
    rows = stream(3, n=1)
    fleet_row = batch([rows[0]._replace(value=math.nan, at=math.inf)])
    verdicts = engine.ingest(fleet_row)
    document = checked(PHRASES.forecast(fleet_row, 0, verdicts, 0), "forecast")
    assert (document["value"], document["at"], document["expected"], document["score"]) == (None, None, None, 0.0)
    engine.ingest(batch(rows))
    document = checked(PHRASES.state(engine.fleet(), 0, []), "state")
    assert (document["state"], document["path"], document["expected"]) == (
        SeriesState.WARMING_UP.name.lower(),
        None,
        None,
    )


class Wild(Moved):
    """A model that goes out of its mind."""

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        self.calls += 1
        odd = np.array([np.nan, np.inf, -np.inf, 3.4e38, 1e-45], np.float32)[self.calls % 5]
        sane = super().forecast(windows, spread, at)
        return Forecast(*(np.where(windows[:, : column.shape[1], 0] > 4.0, odd, column) for column in sane))


@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-300, 1e-45, 1.0, 1e30, 3e38]),
    rules=st.sampled_from([PLAIN, QUICK]),
)
@settings(max_examples=examples(12), deadline=None)
def test_whatever_a_model_says_messages_are_json(seed: int, scale: float, rules: Rules) -> None:
    engine = Engine(Wild(), rules)
    rows = [row._replace(value=row.value * scale) for row in stream(seed, n=300)]
    for start in range(0, len(rows), 20):
        part = batch(rows[start : start + 20])
        with np.errstate(all="ignore"):
            verdicts = engine.ingest(part)
        for event in verdicts.events:
            assert not isinstance(event, SeriesEvicted)
            checked(PHRASES.alert(event), "alert")
        for row in range(len(part)):
            checked(PHRASES.forecast(part, 0, verdicts, row), "forecast")
        fleet = engine.fleet()
        for slot in fleet.slot.tolist():
            checked(PHRASES.state(fleet, slot, engine.alerts(slot)), "state")


NAMES = st.text(st.characters(exclude_categories=[]), max_size=40) | st.sampled_from(
    ["..", "$SYS", "+", "#", "a/b", "."]
)


@given(device=NAMES, metric=NAMES)
def test_no_name_that_passes_reaches_another_topic(device: str, metric: str) -> None:
    try:
        series = SeriesKey(checked_name(device), checked_name(metric))
    except PayloadError:
        return
    of = alert(series=series)
    for message, branch in ((PHRASES.alert(AlertRaised(of)), "alerts"), (PHRASES.no_state(series), "state")):
        assert message.topic.split("/") == ["forewarn", "gw", branch, device, metric]
        message.topic.encode()
        message.payload.encode()
    checked(PHRASES.alert(AlertRaised(of)), "alert")


# -- sentences ------------------------------------------------------------------------------------------------------

HUMID = SeriesKey("freezer-3", "humidity")
STUCK = alert(kind=Kind.STUCK, score=24.0, threshold=20.0)
SILENT = alert(kind=Kind.SILENT, score=750.0, threshold=45.0)
RANGE = alert(kind=Kind.RANGE, limit=5.0, score=4.83, threshold=0.0)
RATE = alert(kind=Kind.RATE, score=0.254, threshold=0.1)
UNIT = alert(kind=Kind.UNIT_CHANGE, score=5.0, threshold=5.0, conversion="°C to °F")
LIMIT = alert(kind=Kind.LIMIT, limit=-15.0, score=24.83, threshold=0.0)
UNUSUAL = alert(
    kind=Kind.ANOMALY,
    stream="forecast_60",
    observed=-14.2,
    usual=-18.1,
    since_at=-6200.0,
    once_in_months=5.2,
)
APART = alert(kind=Kind.MULTIVARIATE, score=2.34, threshold=1.0, feature="pressure", observed=3.14159)
AHEAD = alert(kind=Kind.FORECAST_LIMIT, limit=-15.0, lead_s=2400.0, probability=0.874, score=0.874, threshold=0.8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (AlertRaised(alert()), "freezer-3 reads 9.8 °C; 4.1 ± 0.6 °C was expected"),
        (AlertUpdated(alert()), "freezer-3 still reads 9.8 °C; 4.1 ± 0.6 °C was expected"),
        (AlertUpdated(alert(value=4.0, score=0.2)), "freezer-3 is back at 4.0 °C; 4.1 ± 0.6 °C was expected"),
        (
            AlertCleared(alert(value=4.0)),
            "freezer-3 is as expected again: it reads 4.0 °C; 4.1 ± 0.6 °C was expected",
        ),
        (AlertRaised(alert(series=HUMID)), "freezer-3 humidity reads 9.8 °C; 4.1 ± 0.6 °C was expected"),
        (
            AlertRaised(alert(lower=4.1195, upper=4.1205)),
            "freezer-3 reads 9.8300 °C; 4.1200 ± 0.0005 °C was expected",
        ),
        (AlertRaised(alert(lower=-80.0, upper=100.0)), "freezer-3 reads 9.8 °C; 4.1 ± 90.0 °C was expected"),
        (AlertRaised(alert(lower=4.12, upper=4.12)), "freezer-3 reads 9.83 °C; 4.12 ± 0.00 °C was expected"),
        (
            AlertUpdated(alert(expected=None, lower=None, upper=None, residual=None)),
            "freezer-3 still reads 9.83 °C; there is no forecast for it",
        ),
        (
            AlertRaised(UNUSUAL),
            (
                "freezer-3: its last 60 readings averaged -14.2 °C; -18.1 °C was forecast of them, for 2.0 h now "
                "(about once in 5 months on a sensor)"
            ),
        ),
        (
            AlertUpdated(replace(UNUSUAL, stream="level_1_50", since_at=1000.0, once_in_months=0.8)),
            (
                "freezer-3: still unusual: it reads -14.2 °C; it has been about -18.1 °C of late "
                "(about once a month on a sensor)"
            ),
        ),
        (
            AlertRaised(replace(UNUSUAL, stream="day_25", usual=-14.1, since_at=1000.0, once_in_months=200.0)),
            (
                "freezer-3: its last 25 readings averaged -14.20 °C; it was -14.10 °C a day before "
                "(less than once in ten years on a sensor)"
            ),
        ),
        (
            AlertRaised(replace(UNUSUAL, stream="volatility_12", observed=2.0, usual=0.5, once_in_months=0.2)),
            (
                "freezer-3: its last 12 readings vary by ± 2.0 °C; ± 0.5 °C is usual, for 2.0 h now "
                "(about 5 times a month)"
            ),
        ),
        (AlertUpdated(replace(UNUSUAL, score=0.0)), "freezer-3 seems to be as usual again: 9.8 °C"),
        (AlertCleared(replace(UNUSUAL, at=8200.0)), "freezer-3 is as usual again after 2.0 h: 9.8 °C"),
        (
            AlertRaised(STUCK),
            "freezer-3 has read exactly 9.8 °C 24 times in a row; 20 is the most to expect of it",
        ),
        (
            AlertRaised(APART),
            (
                "freezer-3: its features do not go together as in the training (T² is 2.3 times its limit); pressure, "
                "which reads 3.142, contributes most"
            ),
        ),
        (
            AlertUpdated(replace(APART, score=0.4)),
            "freezer-3: its features seem to go together as in the training again",
        ),
        (
            AlertCleared(replace(APART, score=0.4, at=8200.0)),
            "freezer-3: its features go together as in the training again, after 2.0 h",
        ),
        (AlertCleared(replace(STUCK, at=8200.0)), "freezer-3 moves again after 2.0 h: 9.8 °C"),
        (AlertRaised(SILENT), "freezer-3 has been silent for 12 min; 45 s is the most to expect of it"),
        (AlertCleared(replace(SILENT, at=1090.0)), "freezer-3 is heard again after 90 s: 9.8 °C"),
        (AlertRaised(RANGE), "freezer-3 reads 9.8 °C; its range ends at 5 °C"),
        (AlertCleared(replace(RANGE, at=1090.0)), "freezer-3 is within its range again after 90 s: 9.8 °C"),
        (AlertRaised(RATE), "freezer-3 reads 9.8 °C after a change of 0.25 °C a second; 0.1 is allowed"),
        (AlertCleared(RATE), "freezer-3 changes no faster than it may again: 9.8 °C"),
        (AlertRaised(UNIT), "freezer-3 seems to have changed from °C to °F: it reads 9.8"),
        (AlertCleared(UNIT), "freezer-3 is taken to read in °F from now on: 9.8"),
        (AlertCleared(replace(UNIT, score=0.0)), "freezer-3 seems to read in °C again: 9.8 °C"),
        (AlertRaised(LIMIT), "freezer-3 has passed -15 °C: it reads 9.8 °C"),
        (AlertCleared(replace(LIMIT, at=1090.0)), "freezer-3 is back from beyond -15 °C after 90 s: 9.8 °C"),
        (AlertRaised(AHEAD), "freezer-3 will pass -15 °C in about 40 min (87 % likely); it reads 9.8 °C"),
        (
            AlertCleared(replace(AHEAD, probability=0.1, lead_s=None)),
            "freezer-3 is not expected to pass -15 °C any more: it reads 9.8 °C",
        ),
        (
            AlertCleared(replace(AHEAD, probability=1.0)),
            "freezer-3 has passed -15 °C, as was forecast: it reads 9.8 °C",
        ),
    ],
)
def test_a_sentence_tells_a_person_what_was_expected_and_what_came(change: AlertChange, says: str) -> None:
    assert sentence(change, "°C") == says


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.4, "0 s"), (119.4, "119 s"), (120.0, "2 min"), (7199.0, "120 min"), (7200.0, "2.0 h"),
        (172_799.0, "48.0 h"), (172_800.0, "2.0 days"), (1e9, "11574.1 days"),
    ],
)  # fmt: skip
def test_a_span_is_in_the_unit_that_people_use(seconds: float, text: str) -> None:
    assert span(seconds) == text
