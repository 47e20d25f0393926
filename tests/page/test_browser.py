"""The pages in Chromium: with and without JavaScript, by keyboard, on a phone, in the dark."""

import re
import time
from collections.abc import Callable, Iterator

import pytest

from forewarn.adapters.http import Bounds, HttpServer
from forewarn.page import document
from forewarn.page.view import ROWS
from tests.page.browsers import Browser, Page, Tab, chromium, tab
from tests.page.engines import NOW, World
from tests.test_injection import HARMLESS, SEPARATE

__all__ = ["chromium"]  # a fixture

DEVICE = "/device?device=freezer-1&metric=temperature"
PATHS = ("/", "/alerts", DEVICE, "/?state=alert", "/device?device=nobody&metric=x")
LONG = "x" * 128
NAMES = ["freezer-1", "freezer-2", "attic", "attic humidity", LONG]


def served(world: World, port: int = 0, streams: int = 4) -> HttpServer:
    site = world.site
    return HttpServer("127.0.0.1", port, site.routes(), streams=site.streams(), bounds=Bounds(streams=streams))


@pytest.fixture
def world() -> World:
    """Five series, one of them beyond its limit."""
    made = World()
    made.warm(NAMES)
    made.move(NAMES, [9.5, 4.1, 4.0, 4.0, 4.0])
    return made


@pytest.fixture
def origin(world: World) -> Iterator[str]:
    with served(world) as server:
        yield server.url


def eventually(is_so: Callable[[], bool], page: Page) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if is_so():
            return True
        page.wait_for_timeout(50)
    return False


def shown(page: Page) -> list[str]:
    found: list[str] = page.locator("#rows th a").all_inner_texts()
    return found


def reading(page: Page, row: str) -> str:
    text: str = page.locator(f"#{row} td").nth(2).inner_text()
    return text


# -- without JavaScript -----------------------------------------------------------------------------------------------


def test_without_javascript_the_list_is_searched_and_leads_to_a_device_and_back(chromium: Browser, origin: str) -> None:
    with tab(chromium, origin, script=False) as alone:
        page = alone.open()
        assert len(shown(page)) == len(NAMES)
        assert page.locator("#alerts").inner_text().count("freezer-1") >= 1
        page.fill("input[type=search]", "attic")
        page.select_option("select", "name")
        page.click("button")
        assert shown(page) == ["attic", "attic"]
        assert "sort=name" in page.url
        page.locator("#counts a", has_text="alert").click()
        assert shown(page) == []
        page.goto(origin)
        page.click("#rows a")
        assert page.locator("h1").inner_text().startswith("freezer-1")
        page.locator("summary").click()
        assert page.locator("#numbers tbody tr").count() > 60
        page.click("nav a")
        assert len(shown(page)) == len(NAMES)


def test_without_javascript_the_page_is_loaded_anew(
    chromium: Browser, world: World, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "REFRESH_S", 1)
    with tab(chromium, origin, script=False) as alone:
        page = alone.open("/?q=freezer-2")
        before = reading(page, "s1")
        assert "Loaded anew every 1 seconds." in page.locator("#link").inner_text()
        world.move(["freezer-2"], [4.2], NOW + 60)
        assert eventually(lambda: reading(page, "s1") != before, page)
        assert page.url.endswith("?q=freezer-2")


# -- live -------------------------------------------------------------------------------------------------------------


def test_readings_and_alerts_come_without_a_new_load(chromium: Browser, world: World, origin: str) -> None:
    with tab(chromium, origin) as live:
        page = live.open()
        live.wait_until()
        assert reading(page, "s1").startswith("4.1")
        assert page.title() == f"({len(world.engine.active())}) forewarn gateway-1"
        world.move(["freezer-2"], [9.7], NOW + 60)
        page.locator("#alerts", has_text="freezer-2 has passed 8 °C").wait_for()
        assert reading(page, "s1").startswith("9.7")
        assert page.title() == f"({len(world.engine.active())}) forewarn gateway-1"
        assert set(shown(page)[:2]) == {"freezer-1", "freezer-2"}
        world.move(["new"], [4.0], NOW + 60)
        page.locator("#rows a", has_text="new").wait_for()
        assert live.n_load == 1
        live.check()


def test_the_chart_of_a_device_goes_on(chromium: Browser, world: World, origin: str) -> None:
    with tab(chromium, origin) as live:
        page = live.open(DEVICE)
        live.wait_until()
        page.locator("summary").click()
        path = page.locator("#chart svg.large .readings")
        before = path.get_attribute("d")
        world.move(["freezer-1"], [4.0], NOW + 60)
        assert eventually(lambda: path.get_attribute("d") != before, page)
        assert page.locator("details").get_attribute("open") is not None, "what was unfolded stays so"
        assert page.locator("#numbers tbody tr").first.inner_text().split()[1].startswith("4.0")
        assert live.n_load == 1
        live.check()


def test_a_search_needs_no_new_load_and_its_address_can_be_kept(chromium: Browser, world: World, origin: str) -> None:
    with tab(chromium, origin) as live:
        page = live.open()
        live.wait_until()
        page.locator("input[type=search]").press_sequentially("attic", delay=30)
        assert eventually(lambda: shown(page) == ["attic", "attic"], page)
        page.locator("#counts a", has_text="warming up").click()
        page.locator("#pager", has_text="No device matches.").wait_for()
        page.locator("#counts a", has_text="all").click()
        assert eventually(lambda: shown(page) == ["attic", "attic"], page)
        page.select_option("select", "name")
        page.fill("input[type=search]", "freezer")
        assert eventually(lambda: shown(page) == ["freezer-1", "freezer-2"], page)
        assert live.n_load == 1
        world.move(["freezer-3"], [4.0], NOW + 60)
        assert eventually(lambda: shown(page) == ["freezer-1", "freezer-2", "freezer-3"], page)
        live.check()
        page.reload()
        assert shown(page) == ["freezer-1", "freezer-2", "freezer-3"]
        assert page.locator("input[type=search]").input_value() == "freezer"


def test_pages_are_turned_without_a_new_load(chromium: Browser) -> None:
    world = World()
    many = [f"d{i:03}" for i in range(ROWS + 3)]
    world.move(many, [4.0] * len(many))
    with served(world) as server, tab(chromium, server.url) as live:
        page = live.open("/?sort=name")
        live.wait_until()
        assert len(shown(page)) == ROWS
        page.click("text=Next")
        assert eventually(lambda: shown(page) == many[ROWS:], page)
        page.click("text=Previous")
        assert eventually(lambda: len(shown(page)) == ROWS, page)
        assert live.n_load == 1
        live.check()


def test_where_there_are_too_many_streams_the_page_is_asked_for_now_and_then(chromium: Browser, world: World) -> None:
    with served(world, streams=0) as server, tab(chromium, server.url) as live:
        live.page.clock.install()
        page = live.open()
        live.wait_until("Updated every ten seconds")
        world.move(["freezer-2"], [4.2], NOW + 60)
        page.wait_for_timeout(1000)  # a look is kept for so long
        page.clock.fast_forward(10_000)
        assert eventually(lambda: reading(page, "s1").startswith("4.2"), page)
        page.fill("input[type=search]", "attic")
        page.clock.fast_forward(1000)
        assert eventually(lambda: shown(page) == ["attic", "attic"], page)
        assert page.evaluate("window.violations") == []


def test_a_page_says_when_its_daemon_is_gone_and_goes_on_when_it_is_back(chromium: Browser, world: World) -> None:
    server = served(world)
    with tab(chromium, server.url) as live:
        page = live.open()
        live.wait_until()
        server.close()
        live.wait_until("No connection")
        world.move(["freezer-2"], [4.2], NOW + 60)
        with served(world, server.port):
            page.locator("#link", has_text="live").wait_for(timeout=20_000)
            assert reading(page, "s1").startswith("4.2")
        assert live.n_load == 1


def test_a_hidden_tab_leaves_its_stream_to_others(chromium: Browser, world: World) -> None:
    with served(world, streams=1) as server, tab(chromium, server.url) as first, tab(chromium, server.url) as second:
        first.open()
        first.wait_until()
        hide = "Object.defineProperty(document, 'hidden', {get: () => true});"
        first.page.evaluate(f"{hide} document.dispatchEvent(new Event('visibilitychange'))")
        second.page.clock.install()
        second.open()
        assert eventually(lambda: _retried(second), second.page)


def _retried(live: Tab) -> bool:
    live.page.clock.fast_forward(10_000)
    return bool(live.page.locator("#link").inner_text() == "live")


def test_a_device_that_gave_its_place_is_told_so(chromium: Browser) -> None:
    world = World(max_series=1)
    world.move(["old"], [4.0], NOW - 200_000)
    with served(world) as server, tab(chromium, server.url) as live:
        page = live.open("/device?device=old&metric=temperature")
        live.wait_until()
        world.move(["new"], [4.0])
        page.locator("h1", has_text="Not followed").wait_for()
        page.wait_for_timeout(1000)
        assert live.n_load == 3, "the page, the question why it is not live, and the answer"


# -- by keyboard ------------------------------------------------------------------------------------------------------


def focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.innerText || document.activeElement.name || ''")
    return text.strip()


def test_the_keyboard_reaches_a_device_and_comes_back(chromium: Browser, world: World, origin: str) -> None:
    with tab(chromium, origin) as live:
        page = live.open("/?sort=name")
        live.wait_until()
        page.keyboard.press("Tab")
        assert focused(page) == "To the devices"
        assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0"), (
            "it is seen while it has focus"
        )
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert focused(page) == "q"
        for _ in range(2 + 4 + 1):  # order, four states, the first device
            page.keyboard.press("Tab")
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(outline) != "none", "what has focus is seen"
        assert focused(page) == "attic"
        for i in range(3):  # the focus is where it was when its row is renewed
            world.move(["attic", "attic humidity"], [4.1 + 0.1 * (i % 2), 4.0], NOW + 60 + i)
            page.wait_for_timeout(1100)
            assert focused(page) == "attic"
        world.move(["freezer-2"], [9.5], NOW + 60)  # and when the order changes
        page.locator("#alerts", has_text="freezer-2 has passed").wait_for()
        assert focused(page) == "attic"
        page.keyboard.press("Enter")
        page.locator("h1", has_text="attic").wait_for()
        page.keyboard.press("Tab")
        assert focused(page) == "All devices"
        page.keyboard.press("Enter")
        page.locator("h1", has_text="forewarn").wait_for()
        live.check()


# -- how it looks -----------------------------------------------------------------------------------------------------

# Of what a reader reads, the least contrast with what is behind it (WCAG 2.2, 1.4.3), and where that is.
_CONTRAST = """() => {
  const light = c => c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = numbers(getComputedStyle(e).backgroundColor);
      if (c.length == 3 || c[3]) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const e of document.querySelectorAll("main *, header *")) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const [a, b] = [light(numbers(svg ? style.fill : style.color)), light(behind(e))];
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < worst[0]) worst = [contrast, e.outerHTML.slice(0, 99)];
  }
  return worst;
}"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_no_page_complains_or_asks_elsewhere_and_all_text_can_be_read(
    chromium: Browser, world: World, origin: str, path: str, dark: bool
) -> None:
    world.move(["freezer-1"], [4.0], NOW + 60)
    with tab(chromium, origin, dark=dark) as live:
        page = live.open(path)
        if "nobody" not in path:
            live.wait_until()
            live.check()
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") != dark
        contrast, where = page.evaluate(_CONTRAST)
        assert contrast >= 4.5, where


@pytest.mark.parametrize("width", [320, 360, 640])  # 640: 1280 at 200 %
@pytest.mark.parametrize("path", [*PATHS, f"/device?device={LONG}&metric=temperature"])
def test_a_narrow_window_needs_no_sideways_scrolling(
    chromium: Browser, world: World, origin: str, path: str, width: int
) -> None:
    world.move([LONG], [9.5], NOW + 60)
    with tab(chromium, origin, width=width, height=740) as phone:
        page = phone.open(path)
        if page.locator("summary").count():
            page.locator("summary").click()
        assert phone.overflow() == 0
        for name in page.locator("#rows tr").all():
            assert (name.bounding_box() or {"width": 9999})["width"] <= width


def test_on_a_phone_the_list_is_still_a_table(chromium: Browser, origin: str) -> None:
    for width in (360, 1280):
        with tab(chromium, origin, width=width) as live:
            page = live.open("/?sort=name")
            said = page.locator(".devices").aria_snapshot()
            assert said.startswith('- table "The last reading of each series')
            assert 'rowheader "attic temperature"' in said
            assert re.search(r'cell "4\.0\d* °C"', said)
            assert 'columnheader "expected"' in said


def test_the_chart_fits_and_is_told_in_words(chromium: Browser, origin: str) -> None:
    for width, kind in ((360, "small"), (1280, "large")):
        with tab(chromium, origin, width=width) as live:
            page = live.open(DEVICE)
            drawings = page.locator("#chart figure > svg")
            assert [one.is_visible() for one in drawings.all()] == [kind == "large", kind == "small"]
            assert page.locator(f"#chart svg.{kind}").get_attribute("role") == "img"
            assert "readings between" in page.get_by_role("img").aria_snapshot()
            size = page.locator(f"#chart svg.{kind}").bounding_box()
            assert size is not None
            assert size["width"] > 0.8 * min(width, 1152)


def test_no_name_does_anything_in_a_browser(chromium: Browser) -> None:
    world = World()
    names = [name for name in (*HARMLESS, SEPARATE) if name.strip()]
    world.warm(names)
    world.move(names, [9.5] * len(names))
    with served(world) as server, tab(chromium, server.url) as live:
        page = live.open("/?sort=name")
        live.wait_until()
        assert shown(page) == [" ".join(name.split()) for name in sorted(names)]
        assert page.locator("img, iframe, script").count() == 1
        world.move(names, [9.6] * len(names), NOW + 60)
        page.wait_for_timeout(1500)
        assert page.locator("img, iframe, script").count() == 1
        for name in (SEPARATE, HARMLESS[0], HARMLESS[1]):
            page.locator("#rows a").nth(sorted(names).index(name)).click()
            live.wait_until()
            assert page.locator("h1").inner_text().startswith(name)
            page.go_back()
        live.check()


@pytest.mark.slow
def test_a_thousand_devices_stay_fluid(chromium: Browser) -> None:
    world = World()
    many = [f"device-{i:04}" for i in range(1000)]
    world.warm(many, 45)
    with served(world) as server, tab(chromium, server.url) as live:
        page = live.open()
        live.wait_until()
        page.evaluate(
            "window.tasks = []; new PerformanceObserver(list => tasks.push(...list.getEntries().map(e => e.duration)))"
            ".observe({type: 'longtask'})"
        )
        for i in range(5):
            world.move(many, [4.0 + 0.1 * ((i + j) % 3) for j in range(1000)], NOW + 60 * i)
            page.wait_for_timeout(1000)
        assert page.locator("#rows tr").count() == ROWS
        tasks: list[float] = page.evaluate("window.tasks")
        print(f"tasks of more than 50 ms in five seconds, all devices changing each second: {tasks}")  # noqa: T201 - a figure
        assert sum(tasks) < 1000
        live.check()
