"""The pages in a real browser: the server's, and the report as a file.

They need Chromium and the Python package `playwright`; `e2e/services.sh` brings the package along.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import RONDO, Rondo

sys.path.insert(0, str(Path(__file__).parent / "web"))
import flowers  # noqa: E402

pytestmark = pytest.mark.service

SCREENS = Path(__file__).parent.parent / "target" / "e2e-screens"
FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run"]
WIDE = {"width": 1200, "height": 900}
NARROW = {"width": 380, "height": 800}


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the package playwright is not installed: run e2e/services.sh"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    # Root has no user namespaces of its own to build Chromium's sandbox from.
    flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
    SCREENS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def served(browser, project, tmp_path_factory):
    """A project in production that has seen six weeks of traffic: its address and its folder."""
    folder = tmp_path_factory.mktemp("web") / "flowers"
    shutil.copytree(project.folder, folder, symlinks=True)
    process = subprocess.Popen(
        [RONDO, "up", "--listen", "127.0.0.1:0", "--json"], cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        listen = json.loads(process.stdout.readline())["listen"]
        rows = flowers.send(listen, folder / "data" / "iris.csv")
        yield listen, rows
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


@pytest.fixture(scope="session")
def file(served, tmp_path_factory):
    """The report as `rondo report` writes it, alone in a folder."""
    folder = tmp_path_factory.mktemp("file")
    project = next(tmp_path_factory.getbasetemp().glob("web*/flowers"))
    Rondo(project)("report", "--out", str(folder / "report.html"))
    return folder / "report.html"


class Visit:
    """A page that notes what it asks for and what the browser complains about."""

    def __init__(self, browser, url, **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.asked, self.faults = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        self.answer = self.page.goto(url, wait_until="networkidle")
        self.origin = urlsplit(url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def assert_quiet(self):
        """No complaint, and nothing asked for beyond the page's own origin."""
        assert self.faults == []
        assert self.asked
        for url in map(urlsplit, self.asked):
            assert url.scheme == "data" or (url.scheme, url.netloc) == (self.origin.scheme, self.origin.netloc)

    def shoot(self, name):
        self.page.screenshot(path=SCREENS / f"{name}.png", full_page=True)


def assert_report(page, rows):
    assert page.title() == "flowers · loop report"
    assert page.get_by_role("heading", level=1).inner_text() == "flowers"
    assert f"{rows:,}" in page.locator(".cards").inner_text()
    charts = page.locator("svg.chart:visible")
    assert charts.count() >= 2
    for chart in charts.all():
        box = chart.bounding_box()
        assert box["width"] > 200 and box["height"] > 100
    assert page.locator("svg.chart:visible path.line.served").first.get_attribute("d").startswith("M")
    months = page.get_by_role("region", name="performance by month")
    assert months.is_visible()
    assert {"2024-01", "2024-02", "2024-03"} <= set(months.locator("tbody th").all_inner_texts())
    assert page.locator("table.heat td[title*='petal_length from 2024-02']").count() >= 20
    assert page.locator("svg.lineage").is_visible()
    assert page.locator("svg.lineage .node.dataset").count() >= 1


def light(page, selector="body"):
    """How light the background is, from 0 to 255."""
    colour = page.locator(selector).first.evaluate("element => getComputedStyle(element).backgroundColor")
    red, green, blue = (int(part) for part in colour[colour.index("(") + 1:-1].split(",")[:3])
    return (red + green + blue) / 3


def contrast(page, selector):
    """The contrast of text and page, as WCAG counts it."""
    return page.evaluate(
        """selector => {
            const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number)
            const shine = text => rgb(text).map(part => part / 255)
                .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
                .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0)
            const text = shine(getComputedStyle(document.querySelector(selector)).color)
            const page = shine(getComputedStyle(document.body).backgroundColor)
            return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05)
        }""",
        selector,
    )


def test_the_report_shows_the_loop_and_asks_nobody(browser, served):
    listen, rows = served
    with Visit(browser, f"{listen}/report", viewport=WIDE, color_scheme="light") as visit:
        assert visit.answer.status == 200
        assert_report(visit.page, rows)
        visit.assert_quiet()
        visit.shoot("report-light")


def test_the_report_as_a_file_needs_no_server(browser, served, file):
    assert file.stat().st_size < 1_000_000
    with Visit(browser, file.as_uri(), viewport=WIDE) as visit:
        assert_report(visit.page, served[1])
        visit.assert_quiet()
        assert visit.asked == [file.as_uri()]


def test_dark_and_light_follow_the_system_and_can_be_read(browser, served):
    listen, _ = served
    for path in ["/", "/report"]:
        for scheme in ["light", "dark"]:
            with Visit(browser, listen + path, viewport=WIDE, color_scheme=scheme) as visit:
                assert (light(visit.page) > 200) if scheme == "light" else (light(visit.page) < 60)
                for selector in ["h1", ".quiet", ".eyebrow", ".note", "nav a"]:
                    assert contrast(visit.page, selector) >= 4.5, (path, scheme, selector)
                visit.assert_quiet()
                visit.shoot(f"{'report' if path == '/report' else 'home'}-{scheme}")


def test_a_narrow_screen_has_no_sideways_scrolling(browser, served, file):
    listen, _ = served
    for name, url in [("home", listen + "/"), ("report", f"{listen}/report"), ("file", file.as_uri())]:
        with Visit(browser, url, viewport=NARROW) as visit:
            page = visit.page
            for _ in range(page.locator("details").count()):
                page.locator("details:not([open]) > summary").first.click()
            widths = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
            assert max(widths) <= NARROW["width"], (name, widths)
            assert page.locator("svg.chart.wide:visible").count() == 0
            visit.shoot(f"{name}-narrow")


def test_the_keyboard_reaches_and_opens_every_detail(browser, served):
    listen, _ = served
    for path in ["/", "/report"]:
        with Visit(browser, listen + path, viewport=WIDE) as visit:
            page = visit.page
            wanted = page.locator("summary").count()
            assert wanted >= 1
            opened = 0
            for _ in range(100):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.tagName") == "SUMMARY":
                    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                    page.keyboard.press("Enter")
                    opened += 1
                if opened == wanted:
                    break
            assert page.locator("details[open]").count() == wanted, path


def test_the_report_prints_without_what_only_a_screen_can_do(browser, served):
    listen, _ = served
    with Visit(browser, f"{listen}/report", viewport=WIDE, color_scheme="dark") as visit:
        visit.page.emulate_media(media="print", color_scheme="dark")
        assert light(visit.page) > 240
        assert not visit.page.locator("nav").is_visible()
        assert visit.page.locator("svg.chart.wide").first.is_visible()
        visit.page.pdf(path=SCREENS / "report.pdf", format="A4", print_background=False)
        assert (SCREENS / "report.pdf").stat().st_size > 10_000


def test_home_leads_to_the_endpoint_and_the_report(browser, served):
    listen, rows = served
    with Visit(browser, listen + "/", viewport=WIDE) as visit:
        page = visit.page
        assert page.title() == "flowers"
        row = page.get_by_role("region", name="endpoints").locator("tbody tr").inner_text()
        assert "iris" in row and "v1" in row and f"{rows:,}" in row
        page.locator("summary").first.click()
        assert f"{listen}/api/v1/endpoints/iris/predict" in page.locator("pre").first.inner_text()
        visit.assert_quiet()
        page.get_by_role("link", name="The loop's report").click()
        assert page.title() == "flowers · loop report"
