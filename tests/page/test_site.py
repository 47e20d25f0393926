"""What a viewer is given as time goes on, and what it costs those who judge."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from forewarn.page.view import ROWS
from tests.page.engines import NOW, World
from tests.page.html import assert_tame, texts, tree

NAMES = ["a", "b", "c"]


@pytest.fixture
def world() -> World:
    made = World()
    made.warm(NAMES)
    made.move(NAMES, [4.1, 4.0, 4.0])
    return made


def stream(world: World, path: str = "/live", **query: str) -> Iterator[bytes]:
    found = world.site.streams()[path](query)
    assert not isinstance(found, tuple)
    return found


def told(world: World, events: Iterator[bytes]) -> dict[str, Any]:
    """What the next event says, of a new look."""
    world.forget()
    data = next(events)
    if not data:
        return {}
    found: dict[str, Any] = json.loads(data.decode().partition("data: ")[2])
    return found


def test_a_stream_begins_with_what_the_document_has(world: World) -> None:
    html, first = world.get("/"), told(world, stream(world))
    root = tree(html)
    for name, part in first["parts"].items():
        (element,) = [element for element in root.iter() if element.get("id") == name]
        assert texts(part) == [text.strip() for text in element.itertext() if text.strip()]
        assert part in html
    assert set(first["order"]) < set(first["parts"])
    assert first["title"] == "forewarn gateway-1"


def test_only_the_rows_that_changed_are_told(world: World) -> None:
    events = stream(world)
    told(world, events)
    assert told(world, events) == {}
    world.move(["b"], [4.1], NOW + 60)
    second = told(world, events)
    assert set(second) == {"parts"}
    assert set(second["parts"]) == {"s1"}
    assert "4.1" in second["parts"]["s1"]


def fresh_order(world: World) -> tuple[str, ...]:
    """That of a new load."""
    world.forget()
    return tuple(row.get("id") or "" for row in tree(world.get("/")).findall(".//tbody[@id='rows']/tr"))


def test_rows_keep_their_order_but_for_those_whose_state_changes(world: World) -> None:
    events = stream(world)
    first = told(world, events)["order"]
    orders = {fresh_order(world)}
    for i, values in enumerate([[4.0, 4.2, 4.1], [4.2, 4.0, 4.1], [4.1, 4.1, 4.2]]):
        world.move(NAMES, values, NOW + 60 + i)
        orders.add(fresh_order(world))
        assert "order" not in told(world, events)
    assert len(orders) > 1, "a new load would have had another one"
    last = first[-1]
    world.move([NAMES[int(last[1])]], [9.0], NOW + 120)
    after = told(world, events)
    assert after["order"] == [last, *first[:-1]]
    assert after["title"].startswith("(")
    assert {"alerts", "counts", last} <= set(after["parts"])


def test_a_new_series_comes_and_the_one_that_gave_its_place_goes(world: World) -> None:
    events = stream(world)
    told(world, events)
    world.move(["d"], [4.0], NOW + 60)
    second = told(world, events)
    assert set(second["order"]) == {"s0", "s1", "s2", "s3"}
    assert "s3" in second["parts"]

    small = World(max_series=2)
    small.move(["a"], [4.0], NOW - 200_000)
    small.move(["b"], [4.0], NOW)
    events = stream(small)
    told(small, events)
    small.move(["new"], [4.0], NOW + 60)
    third = told(small, events)
    assert "new" in texts(third["parts"]["s0"])


def test_a_selection_is_told_alone(world: World) -> None:
    events = stream(world, state="alert")
    assert told(world, events)["order"] == []
    world.move(["c"], [9.5], NOW + 60)
    assert told(world, events)["order"] == ["s2"]
    world.move(["a"], [4.2], NOW + 60)
    assert not {"s0", "s1"} & set(told(world, events).get("parts", {}))
    assert told(world, stream(world, q="B"))["order"] == ["s1"]


def test_a_device_is_told_until_it_is_followed_no_more() -> None:
    world = World(max_series=2)
    world.move(["a"], [4.0], NOW - 200_000)
    world.move(["b"], [4.0])
    events = stream(world, "/device/live", device="a", metric="temperature")
    assert {"facts", "chart", "alerts", "changes", "numbers"} == set(told(world, events)["parts"])
    assert told(world, events) == {}
    world.move(["a"], [4.1], NOW)
    assert "chart" in told(world, events)["parts"]
    world.move(["new"], [4.0], NOW + 200_000)
    world.forget()
    with pytest.raises(StopIteration):
        next(events)


def test_alerts_are_told_as_they_change(world: World) -> None:
    events = stream(world, "/alerts/live")
    assert "No alert has changed" in told(world, events)["parts"]["changes"]
    world.move(["c"], [9.5], NOW + 60)
    second = told(world, events)
    assert second["title"].startswith("(")
    assert "has passed 8 °C" in second["parts"]["changes"]
    assert "has passed 8 °C" in second["parts"]["alerts"]


def test_alerts_of_before_the_start_are_there(world: World) -> None:
    world.move(["c"], [9.5], NOW + 60)
    again = World()
    again.engine.restore(world.engine.snapshot())
    html = again.get("/alerts")
    assert "c has passed 8 °C: it reads 9.5 °C" in texts(html)
    assert "No alert has changed since the daemon started." in texts(html)
    assert "alert" in texts(again.get("/"))


def test_everything_that_is_sent_is_tame(world: World) -> None:
    evil = "'><img src=x onerror=alert(1)>"
    world.move([evil], [4.0])
    for path, query in (
        ("/live", {}),
        ("/device/live", {"device": evil, "metric": "temperature"}),
        ("/alerts/live", {}),
    ):
        for part in told(world, stream(world, path, **query))["parts"].values():
            assert_tame(part)


def test_whoever_asks_within_a_second_is_given_the_same_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("forewarn.page.site.time.monotonic", lambda: now[0])
    events = [stream(world) for _ in range(4)]
    before = world.looks
    for one in events:
        next(one)
    for _ in range(5):
        world.site.routes()["/"]({})
    assert world.looks - before == 2, "the fleet, and the readings of the rows"
    now[0] += 1.0
    for one in events:
        next(one)
    assert world.looks - before == 4


def test_a_page_costs_the_same_however_many_devices_there_are() -> None:
    world = World()
    many = [f"d{i:04}" for i in range(30 * ROWS)]
    world.move(many, [4.0] * len(many))
    events = stream(world)
    assert len(told(world, events)["order"]) == ROWS
    world.move(many, [4.1] * len(many), NOW + 60)
    world.forget()
    assert len(next(events)) < 60_000


def test_one_page_is_drawn_at_a_time(world: World) -> None:
    """Threads that load and stream at once, while readings come, get whole pages."""
    failed: list[BaseException] = []

    def view() -> None:
        try:
            events = stream(world)
            for _ in range(20):
                world.forget()
                next(events)
                assert_tame(world.site.routes()["/"]({}).body.decode())
        except BaseException as error:  # noqa: BLE001 - told by the test
            failed.append(error)

    threads = [threading.Thread(target=view) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
