"""Where the messages of a stream come from, as `MESSAGES`."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from forewarn.errors import ForewarnError
from forewarn.fleet.settings import FleetSettings

_LINE = "topic string, payload string, payload_base64 string, received_at double, retained boolean"
_DAMAGED = "_damaged"


def messages(spark: SparkSession, settings: FleetSettings) -> DataFrame:
    """The stream of messages.

    Raises:
        ForewarnError: where the landing folder cannot be made.
    """
    return _kafka(spark, settings) if settings.fleet.source == "kafka" else _landing(spark, settings)


def _landing(spark: SparkSession, settings: FleetSettings) -> DataFrame:
    fleet = settings.fleet
    try:
        fleet.inbox.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ForewarnError(f"{fleet.inbox}: cannot be made ({error.strerror})") from error
    reader = spark.readStream.option("maxFilesPerTrigger", fleet.files_per_batch)
    if fleet.landing_done == "delete":
        reader = reader.option("cleanSource", "delete")
    place = str(fleet.inbox)
    if fleet.landing_format == "parquet":
        table = reader.schema(_LINE).parquet(place).withColumn(_DAMAGED, f.lit(None).cast("string"))
    else:
        schema = f"{_LINE}, {_DAMAGED} string"
        table = reader.schema(schema).option("columnNameOfCorruptRecord", _DAMAGED).json(place)
    written_at = f.col("_metadata.file_modification_time").cast("double")
    payload = f.coalesce(f.col("payload").cast("binary"), f.try_to_binary(f.col("payload_base64"), f.lit("base64")))
    return table.select(
        "topic",
        payload.alias("payload"),
        f.coalesce(f.col("received_at"), written_at).alias("received_at"),
        "retained",
        f.col(_DAMAGED).alias("damaged"),
    )


def _kafka(spark: SparkSession, settings: FleetSettings) -> DataFrame:
    kafka = settings.fleet.kafka
    reader = spark.readStream.format("kafka")
    if kafka.mqtt_topic.startswith("header:"):
        reader = reader.option("includeHeaders", "true")
    for name, value in kafka.options.items():
        reader = reader.option(name, value)
    return of_kafka(reader.load(), kafka.mqtt_topic)


def of_kafka(records: DataFrame, mqtt_topic: str) -> DataFrame:
    """Records of Kafka, as Spark's connector gives them, as `MESSAGES`: the record's time is that of the arrival."""
    name = mqtt_topic.partition(":")[2]
    topic = {
        "key": lambda: f.col("key").cast("string"),
        "topic": lambda: f.translate("topic", ".", "/"),
        "header": lambda: f.expr("filter(headers, one -> one.key = '{}')".format(name.replace("'", "''")))[0][
            "value"
        ].cast("string"),
    }[mqtt_topic.partition(":")[0]]()
    return records.select(
        topic.alias("topic"),
        f.col("value").alias("payload"),
        f.col("timestamp").cast("double").alias("received_at"),
        f.lit(0).cast("boolean").alias("retained"),
        f.lit(None).cast("string").alias("damaged"),
    )
