"""Records of Kafka as messages. Spark's connector is not among what the tests may install: these are its columns."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pyspark.sql import SparkSession

from forewarn.fleet.spark.sources import of_kafka

SCHEMA = (
    "key binary, value binary, topic string, partition int, offset long, timestamp timestamp, timestampType int, "
    "headers array<struct<key: string, value: binary>>"
)
AT = datetime(2026, 1, 1, 0, 0, 0, 250_000, UTC)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    yield session
    session.stop()


@pytest.mark.parametrize(
    ("mqtt_topic", "topic"),
    [("key", "sensors/a/temperature"), ("topic", "sensors/b/temperature"), ("header:it's", "sensors/c/temperature")],
)
def test_a_record_is_a_message_with_its_mqtt_topic(spark: SparkSession, mqtt_topic: str, topic: str) -> None:
    headers = [("other", b"x"), ("it's", b"sensors/c/temperature")]
    record = (b"sensors/a/temperature", b"4.5", "sensors.b.temperature", 0, 7, AT, 0, headers)
    (row,) = of_kafka(spark.createDataFrame([record], SCHEMA), mqtt_topic).collect()
    assert row.asDict() == {
        "topic": topic,
        "payload": b"4.5",
        "received_at": AT.timestamp(),
        "retained": False,
        "damaged": None,
    }


def test_a_record_without_key_or_headers_has_no_topic(spark: SparkSession) -> None:
    record = (None, b"4.5", "sensors.b.temperature", 0, 7, AT, 0, None)
    table = spark.createDataFrame([record], SCHEMA)
    assert of_kafka(table, "key").collect()[0].topic is None
    assert of_kafka(table, "header:x").collect()[0].topic is None
