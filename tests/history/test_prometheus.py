"""Prometheus as history: a real one where there is one, and what others may answer."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn.adapters.onnx_forecaster import load_model
from forewarn.adapters.prometheus import MOST_POINTS, RangeQuery
from forewarn.cli import main as forewarn
from forewarn.errors import DataError, UsageError
from forewarn.history import read_history
from forewarn_training.cli import main
from tests.deploy.prometheus import need_prometheus
from tests.history.servers import STARTED_AT, answering, openmetrics, prometheus
from tests.training.sensors import wave

INTERVAL_S = 60
NORTH, SOUTH = wave(500), wave(500, 1, level=5.0)
SERIES = {
    'temperature{device="north",job="hall"}': NORTH.tolist(),
    'temperature{device="south",job="hall"}': SOUTH.tolist(),
    'humidity{device="north",job="hall"}': (50 + NORTH).tolist(),
    'reading{device="north",metric="co2"}': [400.0, 401.0],
}
END_AT = STARTED_AT + 499 * INTERVAL_S
MATRIX = {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"]]}]}}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need_prometheus()
    with prometheus(tmp_path_factory.mktemp("prometheus"), openmetrics(SERIES, INTERVAL_S)) as address:
        yield address


def query(url: str, expression: str = "temperature", step_s: float = INTERVAL_S) -> RangeQuery:
    return RangeQuery(url, expression, STARTED_AT, END_AT, step_s)


def test_what_was_put_in_comes_out(url: str) -> None:
    history = read_history(query(url))
    assert (history.features, set(history.device)) == (("temperature",), {"north", "south"})
    for device, values in (("north", NORTH), ("south", SOUTH)):
        mine = np.array(history.device) == device
        assert np.array_equal(history.values[mine, 0], values)
        assert np.array_equal(history.at[mine], STARTED_AT + INTERVAL_S * np.arange(500.0))
    assert (np.diff(history.at) >= 0).all()
    assert history.timestamp_text[0] == "2026-01-01T00:00:00.000Z"
    assert history.sha256 == read_history(query(url)).sha256 != read_history(query(url, "temperature + 1")).sha256


def test_metrics_of_several_names_are_features(url: str) -> None:
    asked = query(url, '{job="hall", device="north"}')
    history = read_history(asked, features=["temperature", "humidity"], target="temperature")
    assert np.allclose(history.values[:, 1] - history.values[:, 0], 50)
    with pytest.raises(DataError, match=r"which metric is forecast.*humidity, temperature"):
        read_history(asked)


def test_a_label_says_the_metric_and_what_has_no_name_is_a_value(url: str) -> None:
    assert read_history(query(url, "reading")).features == ("co2",)
    assert read_history(query(url, "temperature * 2")).features == ("value",)


def test_a_long_range_is_asked_for_in_pieces(url: str) -> None:
    """The server itself refuses more than 11,000 points: `end.Sub(start)/step > 11000` in web/api/v1/api.go."""
    asked = query(url, 'temperature{device="north"}', step_s=2.0)
    with pytest.raises(DataError, match="bad_data: exceeded maximum resolution of 11,000 points"):
        asked._ask_piece(asked.start_at, asked.end_at, None)
    pieces = list(asked._pieces())
    assert [round((end - start) / 2) + 1 for start, end in pieces] == [
        MOST_POINTS,
        499 * INTERVAL_S // 2 + 1 - MOST_POINTS,
    ]
    assert pieces[1][0] == pieces[0][1] + 2
    history = read_history(asked)
    assert len(history) == 499 * INTERVAL_S // 2 + 1 > MOST_POINTS
    assert np.array_equal(history.at, STARTED_AT + 2.0 * np.arange(len(history)))
    assert np.array_equal(history.values[:: INTERVAL_S // 2, 0], NORTH)


def test_what_it_refuses_is_told_in_its_words(url: str) -> None:
    with pytest.raises(DataError, match=r"^127\.0\.0\.1:\d+: Prometheus refuses 'rate\(': bad_data: .*unclosed left"):
        read_history(query(url, "rate("))
    with pytest.raises(DataError, match="has no values of 'absent_metric' in that range"):
        read_history(query(url, "absent_metric"))


def test_series_that_the_device_does_not_tell_apart_are_refused(url: str) -> None:
    both = "sum by (job) (temperature) or humidity"
    assert set(read_history(query(url, "sum by (job) (temperature)")).features) == {"value"}
    with pytest.raises(DataError, match=r"two series are both 'hall' of 'north'; they differ in __name__"):
        read_history(query(url, '{job="hall", device="north"}'), metric_column="job")
    with pytest.raises(DataError, match=r"has no label 'room' .*It has __name__, device, job"):
        read_history(query(url, both), metric_column="room")


def test_fit_and_backtest_read_it_from_the_command_line(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.onnx"
    where = ["--prometheus", url, "--query", "temperature", "--from", "2026-01-01T00:00:00Z"]
    where += ["--to", str(END_AT), "--step", "1m"]
    quick = ["--epochs", "1", "--units", "4", "--n-step", "8", "--horizon", "3", "--start", "scratch"]
    assert main(["fit", *where, "--out", str(out), *quick]) == 0
    card = load_model(out).card
    assert (card.target, card.interval_s, card.n_step) == ("temperature", INTERVAL_S, 8)
    capsys.readouterr()
    assert main(["evaluate", "--model", str(out), *where]) == 0
    assert "trained on the earlier parts" in capsys.readouterr().out
    report = tmp_path / "report.html"
    assert forewarn(["backtest", "--model", str(out), *where, "--report", str(report)]) == 0
    assert "1000 readings" in capsys.readouterr().out
    assert "<td>--query</td><td>temperature</td>" in report.read_text("utf-8")


def test_a_password_in_a_file_lets_in(tmp_path: Path) -> None:
    need_prometheus()
    hashed = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"  # of `secret`, as bcrypt
    users = f'basic_auth_users:\n  reader: "{hashed}"\n'
    (tmp_path / "secret").write_text("reader:secret\n", "utf-8")
    (tmp_path / "wrong").write_text("reader:guess", "utf-8")
    with prometheus(tmp_path, openmetrics(SERIES, INTERVAL_S), users) as address:
        asked = query(address)
        assert len(read_history(replace(asked, credentials=tmp_path / "secret"))) == 1000
        for refused in (asked, replace(asked, credentials=tmp_path / "wrong")):
            with pytest.raises(DataError, match=r"HTTP status 401.*give --credentials FILE"):
                read_history(refused)


def test_a_token_goes_to_the_server_that_was_named_and_to_no_other(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc.DEF_~+/=\n", "utf-8")
    with answering(200, MATRIX) as (other, seen), answering(302, "", {"Location": other}) as (first, shown):
        assert read_history(replace(query(first), credentials=tmp_path / "token")).values.tolist() == [[2.0]]
    assert (shown, seen) == (["Bearer abc.DEF_~+/="], ["none"])


def test_warnings_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with answering(200, {**MATRIX, "warnings": ["a store is away"]}) as (url, _), caplog.at_level(logging.WARNING):
        read_history(replace(query(url), end_at=STARTED_AT))
    assert "Prometheus says: a store is away" in caplog.text


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, {"status": "error", "errorType": "timeout", "error": "query timed out"}, "timeout: query timed out"),
        (422, {"status": "error", "errorType": "execution", "error": "too many samples"}, "too many samples"),
        (404, "<html>not\n here</html>", r"HTTP status 404 and no result \(<html>not here</html>\): is --prometheus"),
        (200, "[]", "HTTP status 200 and no result"),
        (200, '{"status": "succ', "HTTP status 200 and no result"),
    ],
)
def test_other_answers_are_told(status: int, body: object, said: str) -> None:
    with answering(status, body) as (url, _), pytest.raises(DataError, match=said) as caught:
        read_history(query(url))
    assert len(str(caught.value).splitlines()) == 1


def test_a_server_that_does_not_answer_is_told() -> None:
    with answering(200, "") as (url, _):
        gone = url
    with pytest.raises(DataError, match=r"does not answer.*is --prometheus right"):
        read_history(query(gone))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "file://localhost/etc/passwd"}, "give its address"),
        ({"url": "127.0.0.1:9090"}, "give its address"),
        ({"url": "http://reader:secret@127.0.0.1:9"}, "^--prometheus: give user and password with --credentials FILE"),
        ({"end_at": STARTED_AT - 1.0}, "an end after the start"),
        ({"credentials": Path("none")}, "--credentials none: cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_wrong_usage(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_history(replace(query("http://127.0.0.1:9"), **changed))  # type: ignore[arg-type] # as parametrized


@pytest.mark.parametrize("content", ["", "one\ntwo"])
def test_credentials_are_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, "utf-8")
    with pytest.raises(UsageError, match="one line with user:password or a bearer token"):
        read_history(replace(query("http://127.0.0.1:9"), credentials=tmp_path / "token"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "x.csv", "--query", "up"], "--query is of a query: give --prometheus URL"),
        (["--prometheus", "http://127.0.0.1:9", "--query", "up"], "--prometheus needs --from and --step as well"),
    ],
)
def test_options_that_do_not_belong_together_are_told(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert forewarn(["backtest", "--model", "starter", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("step", ["0", "-5", "5 m", "1y2", "inf"])
def test_a_step_is_a_duration(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        forewarn(["backtest", "--model", "starter", "--prometheus", "http://127.0.0.1:9", f"--step={step}"])
    assert "is no duration" in capsys.readouterr().err
