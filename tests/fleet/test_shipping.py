"""Which micro-batch is judged with which models."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from forewarn.errors import ForewarnError, ModelError, SettingsError
from forewarn.fleet import shipping as module
from forewarn.fleet.shipping import Generation, Shipping
from forewarn.monitors import Models, load_models
from tests.fleet.configs import MODELS, NUMBERS, TINY, loaded

TIMED = MODELS / "timed.onnx"


class Job:
    """A job with model files of its own."""

    def __init__(self, folder: Path) -> None:
        self.model, self.second = folder / "a.onnx", folder / "b.onnx"
        shutil.copy(TINY, self.model)
        shutil.copy(TINY, self.second)
        monitor = f'{NUMBERS}[[monitors]]\ndevice = "d"\nmodel = "{self.second}"\n'
        self.settings = loaded(folder, model=self.model, rest=monitor)
        self.folder = folder / "fleet" / "models"
        self.list = self.folder / "generations.json"

    def shipping(self) -> Shipping:
        return Shipping(self.settings)

    def put(self, path: Path, content: Path) -> None:
        """As a deployment does: a new file in the old one's place."""
        draft = path.with_suffix(".new")
        shutil.copy(content, draft)
        draft.replace(path)

    def worker(self, batch: int) -> list[str]:
        """The models that a worker that knows nothing uses for a micro-batch."""
        one = Shipping(self.settings.for_executors())
        return names(one.load(one.at(batch)))


def names(models: Models) -> list[str]:
    return [models.rest.card.name, *(model.card.name for _, model, _ in models.monitors)]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    module._load.cache_clear()
    return Job(tmp_path)


def test_the_first_files_are_used_from_the_first_batch_on(job: Job) -> None:
    assert names(job.shipping().begin(0)) == ["tiny", "tiny"]
    assert [job.worker(batch) for batch in (0, 1, 10_000)] == [["tiny", "tiny"]] * 3
    assert [one.suffix for one in job.folder.iterdir() if one != job.list] == [".onnx"]  # the two are the same


def test_a_new_file_is_used_from_its_batch_on_and_older_batches_keep_the_old_one(job: Job) -> None:
    one = job.shipping()
    one.begin(0)
    job.put(job.second, TIMED)
    assert one.changed()
    assert names(one.begin(7)) == ["tiny", "timed"]
    assert not one.changed()
    job.put(job.model, TIMED)
    one.begin(9)
    for path in (job.model, job.second):
        path.unlink()  # workers have their own
    module._load.cache_clear()
    assert {batch: job.worker(batch) for batch in (0, 6, 7, 8, 9, 20)} == {
        0: ["tiny", "tiny"],
        6: ["tiny", "tiny"],
        7: ["tiny", "timed"],
        8: ["tiny", "timed"],
        9: ["timed", "timed"],
        20: ["timed", "timed"],
    }
    assert [one.begins for one in module._generations(job.list)] == [0, 7, 9]


def test_nothing_is_noted_where_the_files_have_the_same_content(job: Job) -> None:
    one = job.shipping()
    one.begin(0)
    noted, inode = job.list.read_bytes(), job.list.stat().st_ino
    job.put(job.model, TINY)
    assert one.changed()  # it is another file
    one.begin(5)
    job.shipping().begin(9)  # as after a restart
    assert (job.list.read_bytes(), job.list.stat().st_ino) == (noted, inode)


def test_a_batch_that_has_not_begun_may_be_given_other_models_again(job: Job) -> None:
    one = job.shipping()
    one.begin(0)
    job.put(job.model, TIMED)
    one.begin(5)
    job.put(job.second, TIMED)
    one.begin(5)
    assert [(g.begins, len(set(g.files.values()))) for g in module._generations(job.list)] == [(0, 1), (5, 1)]
    assert (job.worker(4), job.worker(5)) == (["tiny", "tiny"], ["timed", "timed"])


def test_the_batch_before_that_was_not_done_is_repeated_with_its_own_models_after_a_restart(job: Job) -> None:
    job.shipping().begin(0)
    job.put(job.model, TIMED)
    job.shipping().begin(4)  # batch 3 had begun
    module._load.cache_clear()
    assert (job.worker(3), job.worker(4)) == (["tiny", "tiny"], ["timed", "tiny"])


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_model_that_is_refused_changes_nothing(job: Job, content: bytes) -> None:
    one = job.shipping()
    one.begin(0)
    noted, files = job.list.read_bytes(), sorted(job.folder.iterdir())
    job.second.write_bytes(content)
    assert one.changed()
    with pytest.raises(ModelError, match=r"b\.onnx"):
        one.begin(5)
    assert not one.changed()  # it is said once
    assert (job.list.read_bytes(), sorted(job.folder.iterdir())) == (noted, files)
    assert job.worker(5) == ["tiny", "tiny"]
    job.put(job.second, TIMED)
    assert one.changed()
    one.begin(6)
    assert (job.worker(5), job.worker(6)) == (["tiny", "tiny"], ["tiny", "timed"])


def test_a_file_that_is_damaged_after_it_was_looked_at_is_not_noted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job.shipping()
    one.begin(0)
    noted = job.list.read_bytes()
    job.put(job.second, TIMED)

    def damages(*args: Any) -> Models:  # noqa: ANN401 - as it comes
        found = load_models(*args)
        job.second.write_bytes(b"no model")
        return found

    monkeypatch.setattr(module, "load_models", damages)
    with pytest.raises(ModelError):
        one.begin(5)
    assert job.list.read_bytes() == noted


def test_a_model_that_nothing_feeds_is_refused_too(job: Job) -> None:
    one = job.shipping()
    one.begin(0)
    noted = job.list.read_bytes()
    job.put(job.second, MODELS / "pair.onnx")  # it needs humidity, and the pattern of the topic may give it
    assert names(one.begin(3)) == ["tiny", "pair"]
    assert job.list.read_bytes() != noted
    fixed = job.settings.model_copy(
        update={"inputs": (job.settings.inputs[0].model_copy(update={"topic": "s/{device}", "metric": "temperature"}),)}
    )
    with pytest.raises(SettingsError, match="humidity"):
        Shipping(fixed).begin(4)
    assert [one.begins for one in module._generations(job.list)] == [0, 3]


def test_a_missing_file_is_named(job: Job) -> None:
    job.model.unlink()
    with pytest.raises(ModelError, match=r"a\.onnx"):
        job.shipping().begin(0)
    assert not job.list.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"3",
        b"[3]",
        b'[{"begins": 0}]',
        b'[{"begins": "x", "files": {}}]',
        b'[{"begins": 0, "files": [1]}]',
        b'{"begins": 0}',
        b"\xff",
        b'[{"begins": null, "files": {}}]',
        b'[{"begins": 1e999, "files": {}}]',
        b"[" * 100_000,
    ],
)
def test_a_damaged_list_is_an_error_that_says_what_to_do(job: Job, content: bytes) -> None:
    one = job.shipping()
    one.begin(0)
    job.list.write_bytes(content)
    for act in (lambda: one.at(0), lambda: one.begin(3)):
        with pytest.raises(ForewarnError, match=r"generations\.json: cannot be read .*start again, see docs/fleet\.md"):
            act()
    assert job.list.read_bytes() == content


@pytest.mark.parametrize("content", [None, "[]", '[{"begins": 4, "files": {}}]'])
def test_a_batch_without_models_is_an_error_that_says_what_to_do(job: Job, content: str | None) -> None:
    if content is not None:
        job.folder.mkdir(parents=True)
        job.list.write_text(content)
    with pytest.raises(ForewarnError, match=r"start again, see docs/fleet\.md"):
        job.shipping().at(3)


def test_a_generation_whose_file_is_gone_or_lacks_a_model_is_an_error(job: Job) -> None:
    one = job.shipping()
    one.begin(0)
    generation = one.at(0)
    module._load.cache_clear()
    for path in job.folder.glob("*.onnx"):
        path.unlink()
    with pytest.raises(ModelError):
        one.load(generation)
    with pytest.raises(ForewarnError, match=r"named \S+a\.onnx, \S+b\.onnx is not done"):
        one.load(Generation(0, {}))


def test_a_model_is_loaded_once_in_a_process(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job.shipping()
    one.begin(0)
    loads: list[object] = []

    def counted(*args: Any) -> Models:  # noqa: ANN401 - as it comes
        loads.append(args)
        return load_models(*args)

    monkeypatch.setattr(module, "load_models", counted)
    first = Shipping(job.settings.for_executors())
    models = first.load(first.at(0))
    n = len(loads)
    for batch in range(5):
        again = Shipping(job.settings.for_executors())
        assert again.load(again.at(batch)) is models
    assert len(loads) == n <= 1
    job.put(job.model, TIMED)
    one.begin(5)
    before = len(loads)
    for batch in (4, 5, 4, 5):
        first.load(first.at(batch))
    assert len(loads) - before <= 1  # both are kept


def test_the_list_is_as_it_is_documented(job: Job) -> None:
    job.shipping().begin(0)
    ((only),) = json.loads(job.list.read_text())
    assert only["begins"] == 0
    assert list(only["files"]) == [str(job.model), str(job.second)]
    for sha256 in only["files"].values():
        assert (job.folder / f"{sha256}.onnx").read_bytes() == TINY.read_bytes()


def test_a_folder_that_cannot_be_written_is_named(job: Job) -> None:
    job.folder.parent.mkdir()
    job.folder.write_text("a file")
    with pytest.raises(ForewarnError, match=r"models: cannot be written"):
        job.shipping().begin(0)
