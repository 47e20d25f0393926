"""The ledger: a new one on the same file is where the last one was, and one that fails costs nothing else."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forewarn import ledger
from forewarn.adapters.journal import Journal
from forewarn.adapters.telemetry import Telemetry
from forewarn.core.engine import Engine, Monitor
from forewarn.core.ports import Forecast
from forewarn.core.readings import Outcome, SeriesKey
from forewarn.core.records import Lost, Tick
from forewarn.core.rules import Limits, Rules
from forewarn.guard import Guard
from forewarn.inbox import Message
from forewarn.ledger import Ledger
from forewarn.logs import Complaints
from forewarn.messages import Outgoing
from tests.core.streams import Row, batch, stream
from tests.forecasters import HalfTrend, card
from tests.thorough import examples

RULES = Rules(detector="residual", silent_min_s=20.0, limits=(Limits(limit_above=22.0),))
MONITORS = (
    Monitor("d0", "*", HalfTrend(card(n_step=6, horizon=5)), RULES),
    Monitor("d1", "*", HalfTrend(), Rules(sensitivity=7.0, silent_min_s=20.0)),
)
MESSAGE = Message("t", b"1", 0.0, retained=False, mid=3)


class Life:
    """One process: an engine, its counts and its ledger on a file."""

    def __init__(
        self,
        file: Path | None,
        *,
        model: HalfTrend | None = None,
        enters: bool = True,
        monitors: Sequence[Monitor] = (),
    ) -> None:
        self.engine = Engine(model or HalfTrend(), RULES, monitors)
        self.telemetry = Telemetry(version="0", fleet=self.engine.fleet, max_devices=10)
        self.journal = None if file is None else Journal(file)
        self.guard = Guard(Complaints())
        self.ledger = Ledger(self.journal, self.engine, self.telemetry, self.guard, enters=enters, max_letters=1000)

    def give(self, rows: Sequence[Row]) -> None:
        """Judge and enter, as the service does; a tick after each batch."""
        step = batch(rows)
        verdicts = self.guard.ingest(self.engine, step)
        self.telemetry.repeated(verdicts)
        for event in verdicts.events:
            self.telemetry.event(event)
        judged = step.some(verdicts.outcome != Outcome.FAILED)
        lost = Lost([(rows[0].key.device, rows[-1].received_at)])
        gone = self.engine.lost(*lost)
        for event in gone:
            self.telemetry.event(event)
        letters = [Outgoing("alert", str(i)) for i in range(len(verdicts.events))]
        letters += [Outgoing("lost", str(i)) for i in range(len(gone))]
        self.ledger.enter([judged, lost], [MESSAGE], letters)
        tick = Tick(rows[-1].received_at + 5000.0, rows[0].received_at)
        if events := self.engine.tick(*tick):
            for event in events:
                self.telemetry.event(event)
            self.ledger.enter([tick], (), [Outgoing("silent", str(i)) for i in range(len(events))])

    def end(self) -> None:
        """Kill it: nothing is written any more."""
        if self.journal is not None:
            self.journal.close()

    def state(self) -> tuple[bytes, str, list[tuple[str, str]], bytes, int]:
        """Everything that must outlive it."""
        letters = [(letter.topic, letter.payload) for letter in self.ledger.outbox]
        counts = json.dumps(self.telemetry.counts(), sort_keys=True)
        receipts = self.ledger.receipts.keep()
        return self.engine.snapshot().to_bytes(), counts, letters, receipts, self.telemetry.active_alerts


def parts(seed: int, n: int = 300, size: int = 25) -> list[list[Row]]:
    rows = stream(seed, n=n)
    return [rows[i : i + size] for i in range(0, n, size)]


@pytest.mark.parametrize("monitors", [(), MONITORS])
@given(seed=st.integers(0, 1000), deaths=st.sets(st.integers(0, 11)), saves=st.sets(st.integers(0, 11)))
@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lives_that_end_anywhere_are_as_one_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory,
    monitors: Sequence[Monitor],
    seed: int,
    deaths: set[int],
    saves: set[int],
) -> None:
    file = tmp_path_factory.mktemp("state") / "state.sqlite"
    whole, life = Life(None, monitors=monitors), Life(file, monitors=monitors)
    for i, rows in enumerate(parts(seed)):
        whole.give(rows)
        life.give(rows)
        if i in saves:
            life.ledger.save()
        if i in deaths:
            life.end()
            life = Life(file, monitors=monitors)
    life.end()
    assert Life(file, monitors=monitors).state() == whole.state()


def test_entries_never_come_without_a_snapshot_that_says_of_which_features_they_are(tmp_path: Path) -> None:
    life = Life(tmp_path / "state.sqlite")
    life.give(parts(1)[0])
    life.end()
    pair = HalfTrend(card(features=("temperature", "humidity")))
    after = Life(tmp_path / "state.sqlite", monitors=[Monitor("d1", "*", pair, RULES)])
    assert after.ledger.renewed.series == []
    assert after.ledger.forgotten == {SeriesKey("d1", "temperature")}
    assert {key.device for key in after.engine.fleet().keys} == {"d0", "d2"}


def test_readings_of_other_features_than_the_model_has_by_now_are_left_out(tmp_path: Path) -> None:
    pair = HalfTrend(card(features=("temperature", "humidity")))
    cut = parts(1)
    for saved in (2, 12):
        file = tmp_path / f"{saved}.sqlite"
        life = Life(file)
        for i, rows in enumerate(cut):
            if i == saved:
                life.ledger.save()
            life.give(rows)
        if saved == 12:
            life.ledger.save()
        life.end()
        after = Life(file, monitors=[Monitor("d1", "*", pair, RULES)])
        key = SeriesKey("d1", "temperature")
        assert after.ledger.renewed.series == [(key, life.engine.fleet().keys.index(key))]
        assert after.ledger.forgotten == ({key} if saved == 2 else set())
        assert np.isnan(after.engine.course(key).last.value[0])  # type: ignore[union-attr]  # it is known
        for mine in (key for key in life.engine.fleet().keys if key.device != "d1"):
            now, before = after.engine.course(mine), life.engine.course(mine)
            assert now is not None
            assert before is not None
            assert now.value.tobytes() == before.value.tobytes()
            assert now.last.score.tobytes() == before.last.score.tobytes()
        after.end()


def test_ticks_are_among_what_is_repeated(tmp_path: Path) -> None:
    life = Life(tmp_path / "state.sqlite")
    for rows in parts(1):
        life.give(rows)
    assert any(letter.topic == "silent" for letter in life.ledger.outbox)


class Poisoned(HalfTrend):
    """Raises at a window that ends with a reading of 77.25."""

    def forecast(self, windows: NDArray[np.float32], spread: NDArray[np.float32], at: NDArray[np.float64]) -> Forecast:
        if (windows[:, -1, 0] == 77.25).any():
            raise ZeroDivisionError
        return super().forecast(windows, spread, at)


@pytest.fixture
def poisonous() -> list[list[Row]]:
    """Batches of which two have a reading at which a `Poisoned` engine fails, since its series has a full window."""
    cut = parts(1)
    for part in (cut[5], cut[8]):
        part[7] = part[7]._replace(value=77.25, at=part[7].received_at, seed=False)
    return cut


def test_what_follows_a_batch_at_which_the_engine_failed_is_repeated_to_the_bit(
    tmp_path: Path, poisonous: list[list[Row]]
) -> None:
    """What failed is not entered: a restart without the mistake has what was told, and one with it has no trouble."""
    file = tmp_path / "state.sqlite"
    life = Life(file, model=Poisoned())
    for rows in poisonous:
        life.give(rows)
    life.end()
    assert life.telemetry.counts()["outcomes"][Outcome.FAILED] == 2
    for model in (HalfTrend(), Poisoned()):
        again = Life(file, model=model)
        again.end()
        assert again.engine.snapshot().to_bytes() == life.engine.snapshot().to_bytes()
        assert again.state()[2:] == life.state()[2:]
        assert again.telemetry.counts()["received"] == life.telemetry.counts()["received"] - 2


def test_an_entry_at_which_the_engine_fails_is_no_reason_not_to_start(
    tmp_path: Path, poisonous: list[list[Row]], caplog: pytest.LogCaptureFixture
) -> None:
    """As one of a forewarn that did not fail at it."""
    file = tmp_path / "state.sqlite"
    life, spared = Life(file), Life(None)
    for rows in poisonous:
        life.give(rows)
        spared.give([row for row in rows if row.value != 77.25])
    life.end()
    caplog.clear()
    again = Life(file, model=Poisoned())
    assert again.engine.snapshot().to_bytes() == spared.engine.snapshot().to_bytes()
    assert again.telemetry.counts()["outcomes"][Outcome.FAILED] == 2
    assert again.telemetry.counts()["received"] == life.telemetry.counts()["received"]
    assert sum("the engine fails" in line for line in caplog.messages) == 1


def test_what_was_delivered_is_told_no_more(tmp_path: Path) -> None:
    life = Life(tmp_path / "state.sqlite")
    for rows in parts(1):
        life.give(rows)
    letters = list(life.ledger.outbox.due())
    for mid, letter in enumerate(letters, 1):
        life.ledger.outbox.sent(letter, mid)
    life.ledger.outbox.acknowledged([1, 2])
    life.ledger.tend(300.0)
    life.end()
    assert list(Life(tmp_path / "state.sqlite").ledger.outbox) == letters[2:]


def test_topics_that_are_wanted_no_more_are_known_after_a_restart(tmp_path: Path) -> None:
    life = Life(tmp_path / "state.sqlite")
    assert life.ledger.unwanted(["a/#", "b/#"]) == []
    life.ledger.close()
    life = Life(tmp_path / "state.sqlite")
    assert life.ledger.unwanted(["b/#"]) == ["a/#"]
    assert life.ledger.unwanted(["b/#"]) == []


def test_a_file_that_fails_is_written_again_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "state"
    folder.write_text("a file in place of the folder")
    life, whole = Life(folder / "state.sqlite"), Life(None)
    cut = parts(2)
    for one in (life, whole):
        one.give(cut[0])
    life.ledger.tend(300.0)
    assert life.ledger.failing
    assert (life.ledger.standing, whole.ledger.standing) == ("failing", "")
    monkeypatch.setattr(ledger, "RETRY_S", 0.0)
    for one in (life, whole):
        one.give(cut[1])
    life.ledger.tend(300.0)
    assert life.ledger.failing
    folder.unlink()
    life.ledger.tend(300.0)
    assert not life.ledger.failing
    assert life.ledger.standing == "ok"
    for one in (life, whole):
        one.give(cut[2])
    life.end()
    assert Life(folder / "state.sqlite").state() == whole.state()


def test_a_snapshot_of_another_model_is_set_aside(tmp_path: Path) -> None:
    life = Life(tmp_path / "state.sqlite")
    life.give(parts(1)[0])
    life.ledger.close()
    other = Life(tmp_path / "state.sqlite", model=HalfTrend(card(features=("temperature", "humidity"))))
    assert other.engine.fleet().keys == ()
    assert len(list(tmp_path.glob("*.unusable-*"))) == 1


@pytest.mark.parametrize(
    "counts",
    [
        "garbage",
        "[]",
        "5",
        '{"receipts": 5}',
        '{"receipts": "xy"}',
        '{"telemetry": {"received": "many"}}',
        '{"topics": 5}',
        '{"telemetry": {"received": 1, "evicted": 0, "outcomes": 5, "rejected": {}, "events": []}}',
    ],
)
def test_counts_that_are_none_are_set_aside_with_their_file(tmp_path: Path, counts: str) -> None:
    life = Life(tmp_path / "state.sqlite")
    life.give(parts(1)[0])
    assert life.journal is not None
    life.journal.save(life.engine.snapshot().to_bytes(), counts)
    life.end()
    other, fresh = Life(tmp_path / "state.sqlite"), Life(None)
    assert len(list(tmp_path.glob("*.unusable-*"))) == 1
    assert other.state() == fresh.state()


def test_without_entries_only_a_snapshot_is_kept(tmp_path: Path) -> None:
    life = Life(tmp_path / "state.sqlite", enters=False)
    life.give(parts(1)[0])
    life.end()
    assert Life(tmp_path / "state.sqlite").engine.fleet().keys == ()
