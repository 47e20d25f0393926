"""The documents: what they say, that they are well-formed, and that no name gets out of its place."""

import hashlib
import math
import re
from base64 import b64encode
from urllib.parse import urlencode

import numpy as np
import pytest

from forewarn.core.alerts import AlertRaised
from forewarn.core.readings import SeriesKey
from forewarn.core.rules import Limits, Rules
from forewarn.page import alerts, document
from forewarn.page.changes import KEPT, Changes
from forewarn.page.health import Rate
from forewarn.page.health import health as health_of
from forewarn.page.view import ROWS
from tests.page.engines import NOW, PHRASES, World, health
from tests.page.html import assert_tame, texts, tree
from tests.test_injection import HARMLESS, SEPARATE

NAMES = [name for name in (*HARMLESS, SEPARATE) if name.strip()]


@pytest.fixture
def world() -> World:
    """Three devices, one of them beyond its limit."""
    made = World()
    made.warm(["freezer-1", "freezer-2", "attic"])
    made.move(["freezer-1", "freezer-2", "attic"], [9.5, 4.1, 4.0])
    return made


PATHS = [("/", {}), ("/alerts", {}), ("/device", {"device": "freezer-1", "metric": "temperature"})]


@pytest.mark.parametrize(("path", "query"), PATHS)
def test_a_page_is_one_well_formed_document_with_landmarks_and_headings(
    world: World, path: str, query: dict[str, str]
) -> None:
    html = world.get(path, **query)
    root = tree(html)
    assert html.startswith("<!doctype html>")
    assert root.find("html").get("lang") == "en"  # type: ignore[union-attr]  # else it fails
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert len(root.findall(".//main")) == len(root.findall(".//h1")) == len(root.findall(".//header")) == 1
    for element in root.iter():
        labelled = element.get("aria-labelledby")
        assert labelled is None or labelled in ids
        if element.tag in ("nav", "section"):
            assert element.get("aria-label") or labelled
        if element.tag == "svg":
            assert element.get("aria-hidden") == "true" or (element.get("role"), bool(element.get("aria-label"))) == (
                "img",
                True,
            )
        if element.tag == "th":
            assert element.get("scope") in ("row", "col")
    assert_tame(html)


@pytest.mark.parametrize(("path", "query"), PATHS)
def test_only_its_own_style_and_script_may_run_in_a_page(world: World, path: str, query: dict[str, str]) -> None:
    answer = world.site.routes()[path](query)
    html, policy = answer.body.decode(), answer.headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
    assert "*" not in policy
    assert directives["connect-src"] == directives["form-action"] == "'self'"
    assert directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.content_type == "text/html; charset=utf-8"


def test_without_javascript_a_page_is_loaded_anew(world: World) -> None:
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in world.get("/")


# -- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_says_how_many_are_how_and_what_is_wrong(world: World) -> None:
    html = world.get("/")
    found = texts(html)
    assert f"({len(world.engine.active())}) forewarn gateway-1" in found
    (sentence,) = {PHRASES.sentence(AlertRaised(a)) for a in world.engine.active() if a.kind == "limit"}
    assert sentence in found
    counts = tree(html).find(".//nav[@id='counts']")
    assert counts is not None
    assert [" ".join(link.itertext()) for link in counts] == ["all  3", "alert  1", "ok  2", "warming up  0"]
    assert [link.get("href") for link in counts] == ["/", "/?state=alert", "/?state=ok", "/?state=warming_up"]
    assert [link.get("aria-current") for link in counts] == ["true", None, None, None]


def test_a_search_is_written_back_and_kept_by_every_link(world: World) -> None:
    text = 'e"r&<é'
    root = tree(world.get("/", q=text, sort="name"))
    assert root.find(".//input[@type='search']").get("value") == text  # type: ignore[union-attr]  # else it fails
    assert [o.get("value") for o in root.findall(".//option[@selected]")] == ["name"]
    counts = root.find(".//nav[@id='counts']")
    assert counts is not None
    assert all(urlencode({"q": text}) in (link.get("href") or "") for link in counts)
    assert "No device matches." in texts(world.get("/", q=text))


def test_pages_lead_to_the_ones_before_and_after() -> None:
    many = World()
    many.move([f"d{i}" for i in range(2 * ROWS + 1)], [4.0] * (2 * ROWS + 1))
    pager = tree(many.get("/", page="2", q="d")).find(".//nav[@id='pager']")
    assert pager is not None
    assert [" ".join(part.itertext()) for part in pager] == ["Page 2 of 3", "Previous", "Next"]
    assert [part.get("href") for part in pager[1:]] == ["/?q=d", "/?q=d&page=3"]
    assert len(tree(many.get("/", page="3")).findall(".//tbody[@id='rows']/tr")) == 1


def test_before_the_first_reading_the_list_says_so() -> None:
    assert "No reading has come yet." in texts(World().get("/"))
    assert "No alert is active." in texts(World().get("/"))


def test_no_name_gets_out_of_its_place() -> None:
    world = World()
    world.warm(NAMES)
    world.move(NAMES, [9.5] * len(NAMES))
    html = world.get("/", q="")
    assert_tame(html)
    links = [link.get("href") or "" for link in tree(html).findall(".//tbody[@id='rows']//a")]
    shown = ["".join(link.itertext()) for link in tree(html).findall(".//tbody[@id='rows']//a")]
    assert sorted(shown) == sorted(NAMES)
    assert len(set(links)) == len(NAMES)
    for name in NAMES:
        page = world.get("/device", device=name, metric="temperature")
        assert_tame(page)
        assert f"{name} temperature – forewarn" in (tree(page).findtext(".//title") or "")  # noqa: RUF001 - a dash
        assert name in texts(page)
    assert_tame(world.get("/alerts"))
    for name in NAMES:
        assert_tame(world.get("/", q=name))


def test_a_name_of_a_unit_or_model_is_text_too() -> None:
    evil = "</b><script>alert(1)</script>"
    tiles = health_of(health(broker=evil, version=evil, models=[{"name": evil, "version": evil, "sha256": evil}]))
    assert "<script" not in tiles
    world = World()
    world.unwell = {"instance": evil}
    assert_tame(world.get("/"))


# -- alerts -----------------------------------------------------------------------------------------------------------


def test_more_alerts_than_fit_are_counted() -> None:
    world = World()
    names = [f"d{i}" for i in range(alerts.LISTED + 5)]
    world.warm(names)
    world.move(names, [9.5] * len(names))
    active = world.engine.active()
    html = alerts.active(active, PHRASES, NOW)
    assert html.count("<li>") == alerts.LISTED
    assert f"{len(active) - alerts.LISTED} more: " in "".join(tree(html).itertext())
    assert 'href="/?state=alert"' in html


def test_critical_and_young_alerts_come_first(world: World) -> None:
    found = [(str(alert.severity), alert.raised_at) for alert in world.engine.active()]
    assert len(found) >= 2, "a limit and an anomaly"
    listed = re.findall(r"<b class=\"(\w+)\">", alerts.active(world.engine.active(), PHRASES, NOW))
    assert listed == sorted(listed), "alert before warning"


def test_changes_are_listed_the_newest_first_with_their_sentences(world: World) -> None:
    world.move(["freezer-1"], [4.0], NOW + 60)
    for i in range(5):
        world.move(["freezer-1"], [4.0 + 0.1 * i], NOW + 120 + 60 * i)
    kept = world.changes.newest()
    assert len(kept) >= 3
    rows = tree(world.get("/alerts")).findall(".//div[@id='changes']//tbody/tr")
    assert ["".join(row[-1].itertext()) for row in rows] == [change.sentence for change in kept]
    assert "".join(rows[0].itertext()).count("cleared") == 1
    own = world.get("/device", device="freezer-2", metric="temperature")
    assert "No alert has changed since the daemon started." in texts(own)


def test_few_changes_are_kept(world: World) -> None:
    (alert, *_) = world.engine.active()
    changes = Changes()
    for i in range(KEPT + 50):
        changes.add(AlertRaised(alert), str(i))
    kept = changes.newest()
    assert [change.sentence for change in kept[:2]] == [str(KEPT + 49), str(KEPT + 48)]
    assert len(kept) == KEPT
    assert changes.newest(SeriesKey("other", "temperature")) == []
    assert len(changes.newest(alert.series)) == KEPT


# -- one series -------------------------------------------------------------------------------------------------------


def device(world: World, name: str = "freezer-1") -> str:
    return world.get("/device", device=name, metric="temperature")


def test_a_device_has_its_chart_twice_its_alerts_and_its_limits(world: World) -> None:
    html = device(world)
    root = tree(html)
    drawings = root.findall(".//div[@id='chart']/figure/svg")
    assert [drawing.get("class") for drawing in drawings] == ["large", "small"]
    for drawing in drawings:
        kinds = [element.get("class") for element in drawing.iter()]
        assert {"line readings", "line told", "line forecast", "shade", "limit", "in-alert"} <= set(kinds)
        assert kinds.count("band") >= 3, "what was expected, and two of the forecast"
        assert "61 readings between 4.0" in (drawing.get("aria-label") or "")
        assert "limit 8" in "".join(drawing.itertext())
        assert "-4000" not in "".join(drawing.itertext()), "a limit that is far away would flatten the rest"
    found = texts(html)
    assert {"range from", "-4000 °C", "limit above", "8 °C"} <= set(found)
    assert "! freezer-1 temperature – forewarn" in found  # noqa: RUF001 - a dash


def test_the_numbers_of_the_chart_are_there_as_tables(world: World) -> None:
    readings, forecast = tree(device(world, "freezer-2")).findall(".//div[@id='numbers']/table")
    course = world.engine.course(SeriesKey("freezer-2", "temperature"))
    assert course is not None
    rows = readings.findall("tbody/tr")
    assert len(rows) == len(course.at) == 61
    times = [cell.get("datetime") or "" for cell in readings.iter("time")]
    assert times == sorted(times, reverse=True)
    assert ["".join(row[1].itertext()) for row in rows[:2]] == ["4.10", "4.00"] or "".join(rows[0][1].itertext())[
        :3
    ] == "4.1"
    known = [row for row in rows if "±" in "".join(row.itertext())]
    assert len(known) == len(course.told)
    assert {"".join(row[3].itertext()) for row in known} <= {"yes", "no"}
    assert len(forecast.findall("tbody/tr")) == 24
    assert all(table.find("caption") is not None for table in (readings, forecast))


def test_within_says_whether_a_reading_was_in_its_band() -> None:
    world = World(Rules(unit_change=False))
    world.warm(["a"])
    world.move(["a"], [500.0])
    (readings, _) = tree(device(world, "a")).findall(".//div[@id='numbers']/table")
    said = ["".join(row[3].itertext()) for row in readings.findall("tbody/tr")]
    assert said[0] == "no"
    assert "yes" in said[1:4]


def test_a_young_device_has_a_page() -> None:
    world = World()
    world.move(["new"], [4.0])
    found = texts(device(world, "new"))
    assert "There is no forecast yet." in found
    world.move(["new"], [4.1], NOW + 60)
    assert "warming up" in texts(device(world, "new"))


@pytest.mark.parametrize("value", [1e37, -1e37, 1e-38, 0.0])
def test_no_reading_breaks_a_chart(value: float) -> None:
    world = World(Rules(unit_change=False, limits=(Limits("*", "*", limit_above=1e30),)))
    world.warm(["a"])
    world.move(["a"], [value])
    html = device(world, "a")
    assert_tame(html)
    assert not re.search(r'd="[^"]*(nan|inf)', html)
    assert_tame(world.get("/"))


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"device": "freezer-1"},
        {"device": "freezer-1", "metric": "humidity"},
        {"device": "../etc/passwd", "metric": "temperature"},
        {"device": "freezer-1\0", "metric": "temperature"},
        {"device": "<img>", "metric": "<img>"},
    ],
)
def test_what_is_not_followed_is_told_and_not_repeated(world: World, query: dict[str, str]) -> None:
    for answer in (world.site.routes()["/device"](query), world.site.streams()["/device/live"](query)):
        assert isinstance(answer, tuple)
        assert answer.status == 404
        assert "Not followed" in texts(answer.body.decode())
        assert query.get("device", "no such") not in answer.body.decode().replace(document._JS, "")


# -- health -----------------------------------------------------------------------------------------------------------


def terms(html: str) -> dict[str, str]:
    return {
        tile.findtext("dt") or "": " ".join("".join(dd.itertext()) for dd in tile.findall("dd"))
        for tile in tree(html).findall(".//div")
    }


def test_health_says_what_is_well() -> None:
    html = health_of(health(readings_per_s=12_345.6, received=99_999))
    found = terms(html)
    assert found["broker"] == "connected 127.0.0.1:1883"
    assert found["readings a second"] == "12,346"
    assert found["readings"] == "99,999 rejected 0"
    assert found["messages that wait"] == "inbox 0, outbox 0 dropped 0"
    assert found["state file"] == "ok"
    assert found["model"] == "starter 2 sha256 abababababab"
    assert found["forewarn"] == "0.1.0 up 5 min"
    assert 'class="alert"' not in html


def test_health_says_what_is_not() -> None:
    rejected = {"duplicate": 2, "not_json": 30, "no_route": 0}
    html = health_of(health(connected=False, state="failing", rejected=rejected, queues={"inbox": (7, 3)}))
    found = terms(html)
    assert found["broker"].startswith("not connected")
    assert found["readings"] == "1,234 rejected 32: not_json 30, duplicate 2"
    assert found["messages that wait"] == "inbox 7 dropped 3"
    assert found["state file"] == "cannot be written"
    assert html.count('class="alert"') == 3
    assert terms(health_of(health(state="")))["state file"] == "none"


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.per_s == 0.0
    for second in range(100):
        rate.add(float(second), 5 * second if second < 50 else 250 + 100 * (second - 50))
    assert rate.per_s == pytest.approx(100.0)
    assert len(rate._seen) < 15
    rate.add(200.0, 9_999)
    assert math.isfinite(rate.per_s)


def test_numbers_are_finite_or_a_dash(world: World) -> None:
    for path, query in PATHS:
        visible = " ".join(texts(world.get(path, **query)))
        assert not re.search(r"\b(nan|inf)\b", visible.lower())
    assert np.isfinite(world.engine.fleet().value).all()
