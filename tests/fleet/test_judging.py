"""Rows to verdicts and back to rows, without Spark."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forewarn.adapters.fleet_telemetry import FleetTelemetry
from forewarn.core.alerts import SeriesEvicted
from forewarn.core.readings import Batch, Outcome, status_name
from forewarn.fleet.bucket import Bucket, Delivery, Said
from forewarn.fleet.judging import Columns, Judge
from forewarn.fleet.rows import READ, SAID, Read
from forewarn.fleet.rows import Said as Row
from forewarn.fleet.shipping import _load, _Once
from forewarn.messages import TYPES
from forewarn.monitors import load_models
from forewarn.wiring import phrasebook
from tests.core.streams import stream
from tests.fleet.configs import NUMBERS, PAIR, loaded
from tests.fleet.feeding import AT
from tests.thorough import examples

NAMES = [column.split()[0] for column in READ.split(", ")]
SAID_NAMES = [column.split()[0] for column in SAID.split(", ")]
RESIDUAL = f'{NUMBERS}[alerts]\ndetector = "residual"\n[faults]\nsilent_min_s = 20.0\n'


def judge(folder: Path, *, scores: bool = False, **given: Any) -> Judge:  # noqa: ANN401 - settings
    own = loaded(folder, **{"rest": RESIDUAL, "fleet": "buckets = 1\nmax_series = 1", **given})
    return Judge(own, _load(_Once(own.model_dump_json(), own)), scores=scores)


def reading(nth: int, at: float | None, received_at: float, *values: float, **other: Any) -> dict[str, Any]:  # noqa: ANN401 - fields
    measured = np.array(values).tobytes()
    given = {"device": "a", "metric": "temperature", "at": at, "received_at": received_at, "n": nth}
    return {"bucket": 0, "kind": int(Read.READING), **given, "measured": measured, "seed": False, **other}


def other(
    kind: Read, device: str | None, n: int = 0, *, at: float | None = None, received_at: float | None = None
) -> dict[str, Any]:
    given = {"bucket": 0, "kind": int(kind), "device": device, "metric": None, "at": at, "received_at": received_at}
    return {**given, "n": n, "measured": None, "seed": False}


def columns(rows: list[dict[str, Any]]) -> Columns:
    """As Spark gives them: numbers as arrays with NaN for null."""
    numbers = {"at": np.float64, "received_at": np.float64, "kind": np.int8, "n": np.int64, "seed": np.bool_}
    return {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], numbers[name])
        if name in numbers
        else [row[name] for row in rows]
        for name in NAMES[1:]
    }


def of_stream(seed: int, n: int = 300, n_device: int = 4) -> list[dict[str, Any]]:
    return [
        reading(i, row.at, row.received_at, row.value, device=row.key.device, seed=row.seed)
        for i, row in enumerate(stream(seed, n=n, n_device=n_device))
    ]


def plain(delivery: Delivery) -> tuple[Any, ...]:
    batch = delivery.batch
    seed = None if batch.seed is None else batch.seed.tolist()
    whole = (list(batch.keys), batch.at.tobytes(), batch.received_at.tobytes(), batch.values.tobytes(), seed)
    return (*whole, list(delivery.departures), delivery.first_at, delivery.last_at)


def rows_of(parts: list[Columns]) -> list[dict[str, Any]]:
    found = []
    for part in parts:
        assert list(part) == SAID_NAMES[1:]
        assert len({len(column) for column in part.values()}) == 1
        found += [dict(zip(part, row, strict=True)) for row in zip(*part.values(), strict=True)]
    return found


class Told:
    """What a stream makes a judge say, and from what."""

    def __init__(self, one: Judge, seed: int = 1, counted: Counter[str] | None = None, n_device: int = 30) -> None:
        self.bucket: Bucket = one.bucket(None)
        rows = of_stream(seed, n=1500, n_device=n_device)
        last = max(row["received_at"] for row in rows)
        rows.append(other(Read.CLOCK, None, at=AT, received_at=last))
        self.said: Said = self.bucket.take(one.delivery(columns(rows))[0])
        self.rows = rows_of(list(one.rows(self.said, self.bucket, counted or Counter())))

    def of(self, kind: Row) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["kind"] == kind]

    def counts(self, begin: str = "") -> dict[str, int]:
        return {row["name"]: row["n"] for row in self.of(Row.COUNT) if row["name"].startswith(begin)}


# -- what comes -----------------------------------------------------------------------------------------------------


def mixed() -> list[dict[str, Any]]:
    """Of two tasks, whose rows have the same places, with much that is equal."""
    rows = of_stream(1, n=25)
    rows += [{**row, "device": f"x{i % 2}"} for i, row in enumerate(rows)]
    rows += [{**row, "metric": "humidity"} for row in rows[:5]] + [
        {**rows[0], "at": AT - 3.0},
        {**rows[1], "seed": True},
    ]
    rows += [other(Read.DEPARTURE, name, received_at=AT + 9.0) for name in ("c", "a", "b")]
    rows += [other(Read.DEPARTURE, "z", received_at=AT + 3.0)]
    rows += [other(Read.CLOCK, None, at=AT + i, received_at=AT + 70.0 - i) for i in range(3)]
    return [*rows, other(Read.COUNT, "skipped", 2), other(Read.COUNT, "skipped", 3), other(Read.COUNT, "restamped", 1)]


_JUDGES: dict[int, Judge] = {}


@given(order=st.permutations(range(len(mixed()))))
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_in_any_order_are_the_same_delivery(tmp_path: Path, order: list[int]) -> None:
    rows, one = mixed(), _JUDGES.get(0) or _JUDGES.setdefault(0, judge(tmp_path))
    delivery, counts = one.delivery(columns([rows[i] for i in order]))
    expected, counted = one.delivery(columns(rows))
    assert plain(delivery) == plain(expected)
    assert counts == counted == {"skipped": 5, "restamped": 1}


def test_readings_are_in_the_order_of_their_arrival_and_their_places(tmp_path: Path) -> None:
    rows = [reading(5, 1.0, 9.0, 1.0), reading(4, 3.0, 9.0, 2.0), reading(9, None, 8.0, 3.0, seed=True)]
    batch: Batch = judge(tmp_path).delivery(columns(rows))[0].batch
    assert batch.values[:, 0].tolist() == [3.0, 2.0, 1.0]
    assert batch.received_at.tolist() == [8.0, 9.0, 9.0]
    assert batch.seed is not None
    assert batch.seed.tolist() == [True, False, False]
    assert np.isnan(batch.at[0])


def test_the_clock_is_that_of_the_task_that_has_read_the_least(tmp_path: Path) -> None:
    clocks = [
        other(Read.CLOCK, None, at=AT + 5.0, received_at=AT + 50.0),
        other(Read.CLOCK, None, at=AT + 7.0, received_at=AT + 30.0),
    ]
    delivery = judge(tmp_path).delivery(columns(clocks))[0]
    assert (len(delivery.batch), delivery.first_at, delivery.last_at) == (0, AT + 5.0, AT + 30.0)
    assert delivery.batch.values.shape == (0, 1)


def test_only_counts_move_no_clock(tmp_path: Path) -> None:
    one = judge(tmp_path)
    delivery, counts = one.delivery(columns([other(Read.COUNT, "rejected:not_json", 4)]))
    assert (delivery.first_at, delivery.last_at, counts) == (np.inf, -np.inf, {"rejected:not_json": 4})
    bucket = one.bucket(None)
    assert bucket.take(delivery) == Said()
    assert bucket.heard_at is None


def test_a_bucket_goes_on_from_its_state_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    one = judge(tmp_path)
    state = Told(one).bucket.to_bytes()
    assert one.bucket(state).to_bytes() == state
    with pytest.raises(ValueError, match=r"\w"):
        one.bucket(state[:-9])


# -- what is said ---------------------------------------------------------------------------------------------------


def test_every_reading_counts_once_by_what_became_of_it(tmp_path: Path) -> None:
    told = Told(judge(tmp_path))
    expected = Counter(status_name(o) for _, verdicts in told.said.judged for o in verdicts.outcome.tolist())
    assert told.counts("readings:") == {f"readings:{name}": n for name, n in expected.items()}
    assert sum(expected.values()) + told.bucket.n_waiting == 1500
    assert len(expected) > 4


def test_alerts_are_the_messages_of_the_daemon_in_their_order(tmp_path: Path) -> None:
    one = judge(tmp_path)
    told = Told(one)
    settings_of = loaded(tmp_path, rest=RESIDUAL)
    phrases = phrasebook(settings_of, load_models(settings_of))
    changes = [event for event in told.said.events if not isinstance(event, SeriesEvicted)]
    rows = told.of(Row.ALERT)
    assert {json.loads(row["payload"])["type"] for row in rows} == {"raised", "updated", "cleared"}
    for row, change in zip(rows, changes, strict=True):
        outgoing = phrases.alert(change)
        assert (row["topic"], row["payload"]) == (outgoing.topic, outgoing.payload)
        body = json.loads(row["payload"])
        assert (row["name"], row["n"]) == (body["id"], body["sequence"])
        assert [row[name] for name in ("device", "metric", "at")] == [body[name] for name in ("device", "metric", "at")]
    assert len({(row["name"], row["n"], row["payload"]) for row in rows}) == len(rows)
    expected = Counter(f"alerts:{TYPES[type(c)]}:{c.alert.kind}:{c.alert.severity}" for c in changes)
    assert told.counts("alerts:") == expected


def test_series_that_give_way_are_counted(tmp_path: Path) -> None:
    told = Told(judge(tmp_path))
    n = sum(isinstance(event, SeriesEvicted) for event in told.said.events)
    assert told.counts("evicted") == {"evicted": n}
    assert n > 0


def test_what_was_counted_before_is_said_too(tmp_path: Path) -> None:
    told = Told(judge(tmp_path), counted=Counter({"skipped": 3, "rejected:not_json": 2, "restamped": 0}))
    assert told.counts("skipped") | told.counts("rejected:") == {"skipped": 3, "rejected:not_json": 2}
    assert told.counts("restamped") == {}


def test_levels_say_how_much_a_bucket_has_now(tmp_path: Path) -> None:
    told = Told(judge(tmp_path))
    assert {row["name"]: row["n"] for row in told.of(Row.LEVEL)} == {
        "series": 18,
        "waiting": told.bucket.n_waiting,
        "active": len(told.bucket.engine.active()),
        "clock_ms": int(1000 * (told.bucket.heard_at or 0.0)),
    }
    assert told.bucket.n_waiting > 0
    assert len(told.bucket.engine.active()) > 0


def test_the_names_of_all_counts_are_known_to_the_metrics(tmp_path: Path) -> None:
    told, metrics = Told(judge(tmp_path)), FleetTelemetry()
    levels = {0: {row["name"]: row["n"] for row in told.of(Row.LEVEL)}}
    metrics.batch_done(0, told.counts(), levels, 0.5)
    lines = dict(line.rsplit(" ", 1) for line in metrics.exposition()[0].decode().splitlines() if line[0] != "#")
    by_status = [float(n) for name, n in lines.items() if name.startswith("forewarn_fleet_readings_total")]
    assert sum(by_status) + float(lines["forewarn_fleet_readings_waiting"]) == 1500
    alerts = [float(n) for name, n in lines.items() if name.startswith("forewarn_fleet_alerts_total")]
    assert sum(alerts) == len(told.of(Row.ALERT))
    assert float(lines["forewarn_fleet_series"]) == 18


def test_scores_are_said_only_where_they_are_wanted(tmp_path: Path) -> None:
    silent, told = Told(judge(tmp_path)), Told(judge(tmp_path, scores=True))
    assert silent.of(Row.SCORE) == []
    assert repr([row for row in told.rows if row["kind"] != Row.SCORE]) == repr(silent.rows)  # NaN equals itself
    rows = iter(told.of(Row.SCORE))
    for judged, verdicts in told.said.judged:
        for i, key in enumerate(judged.keys):
            row = next(rows)
            assert (row["device"], row["metric"], row["n"]) == (*key, i)
            assert row["name"] == status_name(int(verdicts.outcome[i]))
            expected = [judged.at[i], judged.received_at[i], judged.values[i, 0], verdicts.score[i], verdicts.lower[i]]
            found = [row[name] for name in ("at", "received_at", "value", "score", "lower")]
            np.testing.assert_array_equal(found, expected)
            assert (row["alert"], row["topic"], row["payload"]) == (bool(verdicts.alert[i]), None, None)
    assert next(rows, None) is None


def test_the_value_of_a_score_is_that_of_the_target(tmp_path: Path) -> None:
    one = judge(tmp_path, scores=True, model=PAIR, fleet="lateness_s = 0.0")
    bucket = one.bucket(None)
    said = bucket.take(
        one.delivery(columns([reading(0, AT, AT, 4.0, 50.0), other(Read.CLOCK, None, at=AT, received_at=AT)]))[0]
    )
    (score,) = [row for row in rows_of(list(one.rows(said, bucket, Counter()))) if row["kind"] == Row.SCORE]
    assert score["value"] == 4.0
    assert score["name"] == status_name(Outcome.WARMING_UP)


def test_a_bucket_with_nothing_to_say_says_how_much_it_has(tmp_path: Path) -> None:
    one = judge(tmp_path, scores=True)
    bucket = one.bucket(None)
    rows = rows_of(list(one.rows(Said(), bucket, Counter())))
    assert [(row["kind"], row["name"], row["n"]) for row in rows] == [
        (Row.LEVEL, "series", 0),
        (Row.LEVEL, "waiting", 0),
        (Row.LEVEL, "active", 0),
    ]
