"""The page in a real browser: Debian's Chromium, headless. Every shape of report, two widths, light and dark."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.report import page as pages
from tests.pipeline.report.shapes import SHAPES, folder, removed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium, or another that is called chromium"
)
WIDTHS = {"laptop": 1440, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's refuses root
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name of a shape -> the address of its page."""
    place = folder(tmp_path_factory.mktemp("pages") / "run")
    found = {}
    for name, made in SHAPES.items():
        path = place / f"{name.replace(' ', '-')}.html"
        path.write_text(pages.render(made(), place), encoding="utf-8")
        found[name] = path.as_uri()
    return found


class Seen:
    """A page with what the browser complained of and asked for while it was open."""

    def __init__(self, browser: Browser, address: str, width: int = 1440, scheme: Any = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page: Page = self.context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


# what reaches over the right edge, and is neither in a box that scrolls nor for screen readers alone
OVERFLOWING = """() => [...document.querySelectorAll('body *')].filter(one => {
  if (one.closest('.hidden, .skip') || !one.checkVisibility()) return false;
  const box = one.closest('.scroll');
  if (box && box !== one) return false;
  const found = one.getBoundingClientRect();
  return found.width && (found.right > document.documentElement.clientWidth + 0.5 || found.left < -0.5);
}).map(one => one.outerHTML.slice(0, 120))"""

# words of a figure that reach out of its card, where they would be cut
CUT = """() => [...document.querySelectorAll('svg text')].filter(one => {
  if (!one.checkVisibility()) return false;
  const found = one.getBoundingClientRect(), card = one.closest('section').getBoundingClientRect();
  return found.left < card.left + 1 || found.right > card.right - 1;
}).map(one => one.textContent)"""


# sections that are not to be seen, or have a title and nothing below it
EMPTY = """() => [...document.querySelectorAll('main section')].filter(one =>
  !one.querySelector('h2').checkVisibility() || one.getBoundingClientRect().height < 75).map(one => one.id)"""

# which colours decides neither what is where nor what is loaded: one shape is looked at in all four ways
WAYS = [(shape, *way) for shape in SHAPES for way in (("laptop", "light"), ("phone", "dark"))]
WAYS += [("whole", "laptop", "dark"), ("whole", "phone", "light")]


@pytest.mark.parametrize(("shape", "device", "scheme"), WAYS)
def test_page_is_quiet_and_nothing_overflows(
    browser: Browser, rendered: dict[str, str], shape: str, device: str, scheme: str
) -> None:
    width = WIDTHS[device]
    with Seen(browser, rendered[shape], width, scheme) as seen:
        seen.page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.evaluate(OVERFLOWING) == []
        assert seen.page.evaluate(CUT) == []
        assert seen.page.evaluate(EMPTY) == []
        assert seen.messages == []
        assert [url for url in seen.requests if not url.startswith("data:")] == [rendered[shape]]


@pytest.mark.parametrize(
    ("shape", "scheme"),
    [
        ("whole", "light"),
        ("failed", "dark"),
        ("error", "light"),
        ("error", "dark"),
        ("one step", "dark"),
        ("shrunk", "light"),
        ("shrunk deep", "dark"),
    ],
)
def test_page_has_no_barrier_that_axe_knows(
    browser: Browser, rendered: dict[str, str], shape: str, scheme: str
) -> None:
    with Seen(browser, rendered[shape], scheme=scheme) as seen:
        seen.page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
        found = Axe().run(seen.page)
        assert found.violations_count == 0, found.generate_report()


def test_headings_go_down_one_level_at_a_time_from_one_h1(rendered: dict[str, str]) -> None:
    for address in rendered.values():
        text = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
        levels = [int(level) for level in re.findall(r"<h([1-6])\b", text)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_figure_is_named_or_said_in_the_words_beside_it(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"]) as seen:
        bare = seen.page.evaluate(
            "[...document.querySelectorAll('svg')].filter(one => !one.closest('[aria-hidden=true]') && "
            "!(one.getAttribute('role') === 'img' && (one.ariaLabel || one.querySelector('title')))).length"
        )
        assert bare == 0
        tree = seen.page.locator("#tradeoffs").aria_snapshot()
        assert 'img "Accuracy against gzip kB"' in tree
        described = seen.page.locator("#size-text").text_content()
        assert "11, quantize.tflite.int8: 98.3 % (95 % 97.7 to 98.9) at 5.3 kB, a Pareto point." in str(described)


def test_keyboard_reaches_every_link_fold_and_scroll_box_in_order(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"], WIDTHS["phone"]) as seen:
        wanted = seen.page.evaluate(
            "[...document.querySelectorAll('a, summary, .scroll')].filter(one => one.checkVisibility())"
            ".map((one, i) => { one.dataset.order = i; return i })"
        )
        assert seen.page.locator(".scroll:not([role=region][aria-label][tabindex='0'])").count() == 0
        reached = []
        for _ in wanted:
            seen.page.keyboard.press("Tab")
            reached.append(seen.page.evaluate("+document.activeElement.dataset.order"))
            style = "getComputedStyle(document.activeElement)"
            assert seen.page.evaluate(f"{style}.outlineStyle + parseFloat({style}.outlineWidth)") == "solid2"
        assert reached == wanted


def test_skip_link_comes_first_and_leads_to_the_content(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"]) as seen:
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert seen.page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("document.activeElement.id") == "content"


def test_scroll_boxes_scroll_by_keyboard_and_folds_open(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"], WIDTHS["phone"]) as seen:
        table = seen.page.get_by_role("region", name="Table of artifacts")
        table.focus()
        seen.page.keyboard.press("ArrowRight")
        seen.page.wait_for_function("document.activeElement.scrollLeft > 0")
        fold = seen.page.get_by_text("The recipe, with every default")
        assert not seen.page.locator("pre.recipe").is_visible()
        fold.focus()
        seen.page.keyboard.press("Enter")
        assert seen.page.locator("pre.recipe").is_visible()


def test_links_of_the_page_lead_somewhere(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["failed"]) as seen:
        dead = "[...document.querySelectorAll('a')].filter(one => !document.querySelector(one.getAttribute('href')))"
        assert seen.page.evaluate(f"{dead}.length") == 0
        seen.page.locator(".missed a").first.click()
        assert seen.page.evaluate("location.hash") == "#gate-1"


def test_print_is_light_whole_and_has_every_fold_open(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"], width=700, scheme="dark") as seen:
        assert seen.page.pdf(format="A4").count(b"/Type /Page\n") > 1
        seen.page.emulate_media(media="print", color_scheme="dark")
        for inner in ("pre.recipe", "#layers .small >> nth=0", "#training details .chart >> nth=-1"):
            box = seen.page.locator(inner).bounding_box()
            assert box is not None
            assert box["height"] > 20, inner
        assert not seen.page.locator("nav").is_visible()
        assert seen.page.evaluate("getComputedStyle(document.querySelector('h2')).color") == "rgb(26, 33, 48)"
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 700
        wide = "[...document.querySelectorAll('table')].filter(one => one.getBoundingClientRect().right > 700.5).length"
        assert seen.page.evaluate(wide) == 0


@pytest.mark.parametrize("shape", ["shrunk", "shrunk deep"])
def test_print_shows_every_group_of_channels_and_cuts_none(
    browser: Browser, rendered: dict[str, str], shape: str
) -> None:
    with Seen(browser, rendered[shape], width=700) as seen:
        seen.page.emulate_media(media="print")
        rows = seen.page.locator("#channels tbody tr")
        assert rows.count() == len([one for one in removed(97 if "deep" in shape else 5) if not one["reason"]])
        for place in (0, rows.count() - 1):
            box = rows.nth(place).bounding_box()
            assert box is not None
            assert box["height"] > 20
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 700
        wide = "[...document.querySelectorAll('table')].filter(one => one.getBoundingClientRect().right > 700.5).length"
        assert seen.page.evaluate(wide) == 0


def test_what_a_page_may_load_is_only_itself(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"]) as seen:
        seen.page.evaluate("() => { new Image().src = 'http://127.0.0.1:9/x.png' }")
        seen.page.wait_for_timeout(100)
        assert [message for message in seen.messages if "Content Security Policy" in message]
        assert seen.page.evaluate("document.scripts.length") == 0


def test_motion_is_left_out_for_those_who_ask_for_less(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"]) as seen:
        behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
        assert seen.page.evaluate(behaviour) == "smooth"
        seen.page.emulate_media(reduced_motion="reduce")
        assert seen.page.evaluate(behaviour) == "auto"


def test_pictures_of_samples_are_shown_from_within_the_page(browser: Browser, rendered: dict[str, str]) -> None:
    with Seen(browser, rendered["whole"]) as seen:
        shown = "[...document.images].map(one => one.complete && one.naturalWidth > 0 && one.alt.length > 0)"
        assert seen.page.evaluate(shown) == [True] * 16


def test_pages_are_files_without_anything_beside_them(rendered: dict[str, str], tmp_path: Path) -> None:
    for address in rendered.values():
        text = Path(address.removeprefix("file://")).read_text(encoding="utf-8")
        assert "<script" not in text
        assert '<link rel="stylesheet"' not in text
    assert list(tmp_path.iterdir()) == []
