"""The metrics of a fleet job at work, without Spark: what its micro-batches would tell them."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

from forewarn.adapters.fleet_telemetry import ALERTS, CLOCK, READINGS, REJECTED, FleetTelemetry
from forewarn.adapters.http import HttpServer
from forewarn.adapters.http_request import Answer, Query
from forewarn.core.alerts import Kind, Severity
from forewarn.core.readings import Outcome, Rejection, status_name
from forewarn.messages import TYPES
from tests.deploy.sources import CARD

BUCKETS = 4


def counts_of_one_batch() -> Counter[str]:
    """Some of everything that a micro-batch can count."""
    counts = Counter({READINGS + status_name(outcome): 1 for outcome in Outcome})
    counts[READINGS + status_name(Outcome.SCORED)] += 100
    counts.update(REJECTED + reason for reason in Rejection)
    counts.update(f"{ALERTS}{change}:{kind}:{level}" for change, kind, level in product(TYPES.values(), Kind, Severity))
    counts.update(("skipped", "restamped", "evicted"))
    return counts


def levels() -> dict[int, dict[str, int]]:
    """How much each bucket has after it."""
    one = {"series": 250, "waiting": 20, "active": 3, CLOCK: int(1000 * time.time())}
    return dict.fromkeys(range(BUCKETS), one)


def filled_fleet() -> FleetTelemetry:
    """Those of a job that has worked for a moment, and has been given a model that it took and one that it did not."""
    telemetry = FleetTelemetry()
    telemetry.models_loaded([(CARD, "ab" * 32)])
    telemetry.reloaded("taken")
    telemetry.reloaded("refused")
    for batch, seconds in enumerate((2.0, 3.5)):
        telemetry.batch_done(batch, counts_of_one_batch(), levels(), seconds)
    return telemetry


@contextmanager
def fleet_at_work() -> Iterator[str]:
    """The address of the metrics of a job that does a micro-batch ten times a second, as host:port."""
    telemetry, ended = filled_fleet(), threading.Event()

    def metrics(_: Query) -> Answer:
        body, content_type = telemetry.exposition()
        return Answer(200, content_type, body)

    def work() -> None:
        batch = 2
        while not ended.wait(0.1):
            telemetry.batch_done(batch, counts_of_one_batch(), levels(), 2.0 + batch % 5)
            batch += 1

    worker = threading.Thread(target=work)
    with HttpServer("127.0.0.1", 0, {"/metrics": metrics}) as server:
        worker.start()
        try:
            yield f"127.0.0.1:{server.port}"
        finally:
            ended.set()
            worker.join()
