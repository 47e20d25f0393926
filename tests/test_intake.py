"""Messages to a batch: retained ones, times of every kind, and clocks that are ahead."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forewarn.adapters.telemetry import Telemetry
from forewarn.core.engine import Engine
from forewarn.core.readings import Batch, Outcome
from forewarn.core.rules import Rules
from forewarn.inbox import Message
from forewarn.inputs import json_paths
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input, Retained
from forewarn.inputs.topics import TopicPattern
from forewarn.intake import Intake
from forewarn.logs import Complaints
from tests.deploy.sources import fleet_of
from tests.forecasters import HalfTrend, card

NOW = 1.7e9


def telemetry() -> Telemetry:
    return Telemetry(version="0", fleet=lambda: fleet_of(()), max_devices=10)


def intake(counts: Telemetry, *, retained: Retained = "seed", restamp_after_s: float | None = None) -> Intake:
    pattern = TopicPattern("s/{device}/{metric}")
    source = Input(pattern, dialect="json", values={"": ("v",)}, time=("t",), retained=retained)
    decoder = Decoder([source], card(), max_payload_bytes=1000)
    return Intake(decoder, counts, Complaints(), n_feature=1, restamp_after_s=restamp_after_s)


def message(
    time: object, value: float = 4.0, *, device: str = "a", after: float = 0.0, retained: bool = False
) -> Message:
    return Message(f"s/{device}/t", json.dumps({"t": time, "v": value}).encode(), NOW + after, retained)


def exposed(counts: Telemetry) -> str:
    return counts.exposition()[0].decode()


def outcomes(batch: Batch) -> list[Outcome]:
    return [Outcome(outcome) for outcome in Engine(HalfTrend(), Rules()).ingest(batch).outcome.tolist()]


def test_retained_messages_are_marked_among_others() -> None:
    batch = (
        intake(telemetry())
        .take([message(NOW), message(NOW, device="b", retained=True), message(NOW, device="c")])
        .batch
    )
    assert batch.seed is not None
    assert batch.seed.tolist() == [False, True, False]


@pytest.mark.parametrize(("retained", "n"), [("live", 2), ("ignore", 1)])
def test_retained_messages_are_as_others_or_are_none(retained: Retained, n: int) -> None:
    counts = telemetry()
    batch = intake(counts, retained=retained).take([message(NOW), message(NOW, device="b", retained=True)]).batch
    assert (len(batch), batch.seed) == (n, None)
    assert f'forewarn_rejections_total{{reason="retained"}} {2.0 - n}' in exposed(counts)


def test_of_a_message_without_one_of_its_values_the_others_are_readings_and_everything_is_counted() -> None:
    counts = telemetry()
    source = Input(TopicPattern("s/{device}"), dialect="json", values={m: (m,) for m in ("t", "rh", "co2")})
    read = Intake(Decoder([source], card(), max_payload_bytes=1000), counts, Complaints(), n_feature=1)
    payloads = (b'{"t": 4, "rh": null, "co2": "-"}', b'{"co2": 400, "t": 5}', b"{}", b"{")
    batch = read.take([Message("s/a", payload, NOW + i, retained=False) for i, payload in enumerate(payloads)]).batch
    assert [key.metric for key in batch.keys] == ["t", "t", "co2"]
    assert batch.values[:, 0].tolist() == [4.0, 5.0, 400.0]
    counts.ingested(Engine(HalfTrend(), Rules()).ingest(batch), np.zeros(3))
    said = exposed(counts)
    for reason, n in (("missing_value", 3), ("not_number", 1), ("not_json", 1)):
        assert f'forewarn_rejections_total{{reason="{reason}"}} {n}.0' in said
    assert "forewarn_readings_received_total 8.0" in said
    assert 'forewarn_readings_total{outcome="warming_up"} 3.0' in said


def test_a_message_at_which_decoding_fails_is_rejected_and_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parse = json_paths.parse_json

    def fails(payload: bytes) -> object:
        if b"poison" in payload:
            raise ZeroDivisionError
        return parse(payload)

    monkeypatch.setattr(json_paths, "parse_json", fails)
    counts = telemetry()
    bad = [Message("s/x/t", b"poison", NOW, retained=False)] * 3
    batch = intake(counts).take([message(NOW), *bad, message(NOW, device="b")]).batch
    assert [key.device for key in batch.keys] == ["a", "b"]
    assert 'forewarn_rejections_total{reason="failed"} 3.0' in exposed(counts)
    (record,) = caplog.records
    assert record.exc_info
    assert "'s/x/t'" in record.getMessage()


def test_nothing_at_all_is_an_empty_batch() -> None:
    batch = intake(telemetry(), restamp_after_s=1.0).take([]).batch
    assert (len(batch), batch.values.shape) == (0, (0, 1))


def test_a_clock_that_is_a_day_ahead_is_rejected_and_the_others_are_not() -> None:
    batch = (
        intake(telemetry()).take([message(NOW), message(NOW + 86_400.0, device="b"), message(NOW, device="c")]).batch
    )
    assert outcomes(batch) == [Outcome.WARMING_UP, Outcome.FROM_FUTURE, Outcome.WARMING_UP]


def test_a_clock_that_is_a_day_ahead_is_restamped_and_counted_where_the_operator_says_so() -> None:
    counts = telemetry()
    source = intake(counts, restamp_after_s=300.0)
    days = [message(NOW + 86_400.0 + i, device="b", after=float(i)) for i in range(5)]
    batch = source.take([message(NOW + 299.0), *days, message(NOW - 5.0, device="c")]).batch
    assert batch.at.tolist() == [NOW + 299.0, *(NOW + i for i in range(5)), NOW - 5.0]
    assert set(outcomes(batch)) == {Outcome.WARMING_UP}
    assert "forewarn_restamped_total 5.0" in exposed(counts)


def test_milliseconds_among_seconds_of_one_device_are_in_order() -> None:
    times: list[object] = [
        NOW,
        (NOW + 1) * 1000,
        NOW + 2,
        int((NOW + 3) * 1000),
        str(NOW + 4),
        f"{(NOW + 5) * 1000:.0f}",
    ]
    batch = intake(telemetry()).take([message(time, after=10.0) for time in times]).batch
    assert batch.at.tolist() == [NOW + i for i in range(6)]
    assert set(outcomes(batch)) == {Outcome.WARMING_UP}


@pytest.mark.parametrize("change", [datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)])
def test_text_with_an_offset_is_in_order_over_a_change_of_summer_time(change: datetime) -> None:
    moments = [change + timedelta(minutes=m) for m in range(-90, 91, 10)]
    texts = [moment.astimezone(ZoneInfo("Europe/Berlin")).isoformat() for moment in moments]
    assert len({text[-6:] for text in texts}) == 2
    shift = change.timestamp() + 6000.0 - NOW
    batch = intake(telemetry()).take([message(text, after=shift) for text in texts]).batch
    assert batch.at.tolist() == [moment.timestamp() for moment in moments]
    assert set(outcomes(batch)) == {Outcome.WARMING_UP}


def test_local_time_without_an_offset_loses_the_hour_that_comes_twice_and_nothing_after_it() -> None:
    """Taken as UTC, the second hour repeats the first, and is rejected rather than judged at a wrong time."""
    change = datetime(2026, 10, 25, 1, tzinfo=UTC)
    moments = [change + timedelta(minutes=m) for m in range(-60, 121, 10)]
    texts = [moment.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None).isoformat() for moment in moments]
    shift = change.timestamp() + 20_000.0 - NOW
    said = outcomes(intake(telemetry()).take([message(text, after=shift) for text in texts]).batch)
    assert said[:6] == said[12:-1][:6] == [Outcome.WARMING_UP] * 6
    assert set(said[6:12]) <= {Outcome.OUT_OF_ORDER, Outcome.DUPLICATE}
