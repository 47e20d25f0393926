"""A device that goes: what it said before and that it went are entered as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from forewarn.adapters.journal import Entry, Journal
from forewarn.core import records
from forewarn.core.readings import Batch
from forewarn.inbox import Message
from forewarn.receipts import Receipts
from forewarn.service import Daemon
from forewarn.settings import load

SETTINGS = """
[[inputs]]
dialect = "zigbee2mqtt"
[metrics]
enabled = false
[state]
path = "{}"
"""


def test_the_last_reading_of_a_device_and_its_departure_are_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[tuple[list[Entry], int]] = []

    def commit(_journal: Journal, entries: Sequence[Entry], letters: Sequence[Any], _delivered: object) -> bool:
        commits.append((list(entries), len(letters)))
        return True

    monkeypatch.setattr(Journal, "commit", commit)
    config = tmp_path / "forewarn.toml"
    config.write_text(SETTINGS.format(tmp_path / "state.sqlite"))
    daemon = Daemon(load(config).settings)
    said = [("zigbee2mqtt/cold", b'{"temperature": 4.0}'), ("zigbee2mqtt/cold/availability", b'{"state": "offline"}')]
    messages = [Message(topic, said, 1.7e9 + i, retained=False, mid=i + 1) for i, (topic, said) in enumerate(said)]
    daemon._work(messages)
    daemon._close()
    ((batch, lost), n_letter), *others = commits
    read = records.read(batch.record)
    assert isinstance(read, Batch)
    assert len(read) == 1
    assert records.read(lost.record) == records.Lost([("cold", 1.7e9 + 1)])
    assert batch.receipts + lost.receipts == Receipts().of(messages)
    assert n_letter == 1
    assert not others
