import re
from pathlib import Path

from tests.fleet.spark.fleets import run_once
from tests.test_documents import blocks, run_as_shown

PAGE = (Path(__file__).parents[3] / "docs" / "fleet.md").read_text("utf-8")


def test_the_commands_of_the_page_work_in_their_order(tmp_path: Path) -> None:
    settings, *_ = blocks("toml", PAGE)
    (tmp_path / "fleet.toml").write_text(settings)
    demo, run = blocks("sh", PAGE)
    assert re.search(r"\d+ scored, \d+ warming_up; 200 series, \d+ alerts", run_as_shown(demo, tmp_path))
    said = run_as_shown(run, tmp_path)
    told = [line for line in said.splitlines() if re.match(r"(freezer|fridge|room|inlet)-\d+", line)]
    written = "".join(path.read_text("utf-8") for path in (tmp_path / "fleet" / "alerts").glob("*.jsonl"))
    assert len(told) == len(written.splitlines()) > 0


def test_the_settings_for_kafka_are_refused_only_for_want_of_the_connector(tmp_path: Path) -> None:
    _, settings, *_ = blocks("toml", PAGE)
    inputs, *_ = blocks("toml", PAGE)
    (tmp_path / "fleet.toml").write_text(
        inputs.partition("[fleet]")[0] + settings.replace("/srv/fleet", str(tmp_path / "job"))
    )
    failed = run_once(tmp_path / "fleet.toml")
    assert "Spark has no Kafka connector" in failed.stderr
