"""Several models: which of them gets a value, in which unit, alone or joined with others."""

import json
from dataclasses import replace

import pytest

from forewarn.adapters.telemetry import Telemetry
from forewarn.core.card import Feature
from forewarn.core.patterns import SeriesPattern
from forewarn.core.readings import Rejection, SeriesKey
from forewarn.errors import PayloadError
from forewarn.inbox import Message
from forewarn.inputs.decoder import Decoder
from forewarn.inputs.dialect import Input, Retained
from forewarn.inputs.feeds import Reading
from forewarn.inputs.topics import TopicPattern
from forewarn.intake import Intake
from forewarn.logs import Complaints
from tests.deploy.sources import fleet_of
from tests.forecasters import card

PAIR = card(features=("temperature", "humidity"))
FAHRENHEIT = replace(PAIR, features=(Feature("temperature", "°F"), Feature("humidity", "°F")))
NOW = 1.7e9


def decoder(*monitors: tuple[str, str, object], retained: Retained = "seed") -> Decoder:
    """Numbers in °C, for a model of one feature and these monitors."""
    source = Input(TopicPattern("s/{device}/{metric}"), unit="°C", retained=retained)
    many = Input(TopicPattern("m/{device}"), dialect="json", values={m: (m,) for m in ("temperature", "humidity", "x")})
    chosen = [(SeriesPattern(device, metric), model) for device, metric, model in monitors]
    return Decoder([source, many], card(), max_payload_bytes=999, hold_s=60.0, monitors=chosen)  # type: ignore[arg-type]  # cards


def read(source: Decoder, topic: str, payload: object, at: float = NOW) -> list[tuple[str, tuple[float, ...]]]:
    readings = source.decode(topic, json.dumps(payload).encode(), received_at=at).readings
    return [(reading.key.metric, reading.values) for reading in readings]


def test_a_metric_may_be_a_series_of_its_own_and_a_feature_of_another_model() -> None:
    source = decoder(("boiler", "temperature", PAIR))
    assert read(source, "s/boiler/humidity", 40) == [("humidity", (40.0,))]
    assert read(source, "s/boiler/temperature", 60) == [("temperature", (60.0, 40.0))]
    assert read(source, "s/room/temperature", 20) == [("temperature", (20.0,))]
    assert read(source, "s/room/humidity", 50) == [("humidity", (50.0,))]
    whole = {"temperature": 61, "humidity": 41, "x": 1}
    assert read(source, "m/boiler", whole) == [("humidity", (41.0,)), ("x", (1.0,)), ("temperature", (61.0, 41.0))]


def test_a_monitor_of_several_features_that_takes_every_metric_judges_the_device_alone() -> None:
    source = decoder(("boiler", "*", PAIR))
    assert read(source, "s/boiler/humidity", 40) == []
    assert read(source, "s/boiler/temperature", 60) == [("temperature", (60.0, 40.0))]
    with pytest.raises(PayloadError, match="the model needs temperature, humidity"):
        read(source, "s/boiler/x", 1)
    with pytest.raises(PayloadError, match=r"humidity in the same message, or within 60 s") as error:
        read(source, "s/boiler/temperature", 60, NOW + 61.0)
    assert error.value.reason is Rejection.MISSING_VALUE


def test_two_models_that_share_a_feature_each_get_it_in_their_own_unit() -> None:
    source = decoder(("boiler", "temperature", FAHRENHEIT), ("boiler", "humidity", card(features=("humidity", "x"))))
    assert read(source, "s/boiler/x", 1) == [("x", (1.0,))]
    assert read(source, "s/boiler/humidity", 40) == [("humidity", (40.0, 1.0))]
    ((metric, values),) = read(source, "s/boiler/temperature", 60)
    assert metric == "temperature"
    assert values == pytest.approx((140.0, 104.0))


def test_what_only_a_model_takes_whose_target_another_judges_is_rejected() -> None:
    source = decoder(("*", "temperature", card()), ("*", "*", PAIR))
    assert read(source, "s/boiler/temperature", 60) == [("temperature", (60.0,))]
    with pytest.raises(PayloadError, match="the target of the model that takes it is judged by another") as error:
        read(source, "s/boiler/humidity", 40)
    assert error.value.reason is Rejection.MISSING_VALUE


def test_retained_values_that_are_not_wanted_are_no_features_either() -> None:
    source = decoder(("boiler", "temperature", PAIR), retained="ignore")
    with pytest.raises(PayloadError):
        source.decode("s/boiler/humidity", b"40", retained=True, received_at=NOW)
    with pytest.raises(PayloadError, match="the model needs humidity"):
        source.decode("s/boiler/temperature", b"60", received_at=NOW)


def test_a_batch_has_as_many_columns_as_the_model_of_most_features() -> None:
    telemetry = Telemetry(version="0", fleet=lambda: fleet_of(()), max_devices=1)
    intake = Intake(decoder(("boiler", "temperature", PAIR)), telemetry, Complaints(), n_feature=2)
    payload = b'{"temperature": 60, "humidity": 40, "x": 1}'
    batch = intake.take([Message("m/boiler", payload, NOW, retained=False)]).batch
    assert batch.values.tolist() == [[40.0, 0.0], [1.0, 0.0], [60.0, 40.0]]
    assert [key.metric for key in batch.keys] == ["humidity", "x", "temperature"]


def test_a_device_that_no_monitor_takes_is_read_as_without_any() -> None:
    plain, several = decoder(), decoder(("boiler", "*", PAIR))
    for topic, payload in (("s/a/temperature", b"1"), ("m/a", b'{"temperature": 3, "humidity": 4, "x": 1}')):
        said = several.decode(topic, payload, retained=True, received_at=NOW)
        assert said == plain.decode(topic, payload, retained=True, received_at=NOW)
        assert said.readings[0] == Reading(SeriesKey("a", "temperature"), None, said.readings[0].values, seed=True)
