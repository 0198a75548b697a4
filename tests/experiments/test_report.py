"""The report: complete, self-contained, and alive in a real browser."""

import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.support.wait import WebDriverWait

from experiments.harness.claim import Claim, above, claim
from experiments.harness.outcomes import Outcome, write_claims
from experiments.harness.report.page import write_report
from experiments.harness.results import save_dataset, save_interactive
from nsh.figures.interactive import explore_graph
from nsh.measure import Estimate
from nsh.neurashed import Graph, Node
from nsh.study.files import save_figure

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
STEPS = np.arange(0, 50, 10)


def explored():
    """Two classes of two nodes each; the left ones grow, the right ones shrink."""
    graph = Graph.from_nodes(4, [[Node((0, 1)), Node((2, 3))]], [[0], [1]])
    rates = np.array([0.1, 0.05, -0.05, -0.1, 0.1, -0.1])
    pathways = {
        "left": np.array([1, 1, 0, 0, 1, 0, 1, 0], bool),
        "right": np.array([0, 0, 1, 1, 0, 1, 0, 1], bool),
    }
    return explore_graph(
        graph, STEPS, STEPS[:, None] * rates,
        pathways=pathways, curves={"I": STEPS / 50}, ylabel="information (bits)",
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    left, right = (
        claim("left <grows>", "a paper & more, Fig. 1"),
        claim("right grows", "a paper, Fig. 2"),
    )
    claims = [
        left.says("It is so.").test("mean", Estimate(1.25, 0.5, 4), above(0)),
        right.says("It is so.").test("mean", float("nan"), above(0)),
    ]
    outcomes = [
        Outcome("moves", claims),
        Outcome("ends_badly", error="ValueError: <out of luck>"),
    ]
    write_claims(results / "claims.json", outcomes, ["moves"])
    attributes = {
        "started_utc": "2026-01-01T00:00:00+00:00", "wall_time_seconds": 62.4, "device": "1 x cpu",
        "git_commit": "abc", "versions": json.dumps({"jax": "1.2.3"}),
        "configuration": json.dumps({"seeds": 7}),
    }  # fmt: skip
    save_dataset(xr.Dataset(attrs=attributes), results / "moves", "moves")
    figure = Figure()
    figure.subplots().plot([0, 1])
    save_figure(figure, results / "moves")
    save_interactive(explored(), results / "moves")
    return write_report(results, ["experiments.local_elasticity"])


def test_everything_is_in_it(page):
    text = page.read_text()
    body = text[text.index("<body>") :]
    for shown in (
        "left &lt;grows&gt;", "a paper &amp; more", "1.25 ± 0.50", "nan", "ends_badly",
        "ValueError: &lt;out of luck&gt;", "moves, 62 s;\n2 claims,", "jax 1.2.3",
        "2 claims of 2 experiments", "1 of them does not hold", "data:image/png;base64,",
        "<code>seeds</code>", '<td class="yes">yes</td>\n<td>yes</td></tr>',
        '<td class="no">no</td>\n<td></td></tr>',
    ):  # fmt: skip
        assert shown in body, shown
    # a page to be opened without a network: nothing is fetched
    head = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", head)


def test_docstrings_introduce_experiments(tmp_path):
    write_claims(tmp_path / "claims.json", [Outcome("local_elasticity")], [])
    figure = Figure()
    figure.subplots().plot([0, 1])
    save_figure(figure, tmp_path / "local_elasticity")
    text = write_report(tmp_path, ["experiments.local_elasticity"]).read_text()
    assert '<h2 id="local_elasticity">Local elasticity: Figures 5 and 6' in text
    assert "<p>Late in a run at batch size 1 neurashed loses it" in text
    assert "<figcaption><b>a</b> Neurashed: density of local elasticity" in text


def test_after_an_error_it_says_which_run_is_shown(tmp_path):
    claim = Claim("n", "s", "t", "c", 1.0, None, True)
    for outcome in (Outcome("it", [claim]), Outcome("it", error="ValueError: out of luck")):
        write_claims(tmp_path / "claims.json", [outcome], [])
    text = write_report(tmp_path, []).read_text()
    assert "1 claim of 1 experiment;" in text
    assert "The newest run ended in an error: ValueError: out of luck</p>" in text
    assert "All that is shown is of the run before it." in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no browser: Debian's chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "window-size=1200,1000", f"user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def discs(browser):
    """Colour and path of each node's disc, once drawn."""

    def drawn(browser):
        traces = browser.execute_script(
            "return [...document.querySelectorAll('#moves-interactive .scatterlayer .trace')]"
            ".map(t => [...t.querySelectorAll('path.point')]"
            ".map(p => [p.style.fill, p.getAttribute('d')]))"
        )
        return [points for points in traces if len(points) == 6]

    (found,) = WebDriverWait(browser, 20).until(drawn)
    return found


def orange(browser):
    return {i for i, (fill, _) in enumerate(discs(browser)) if fill == "rgb(230, 159, 0)"}


def radius(path):
    return float(re.match(r"M([\d.]+)", path).group(1))  # pyright: ignore


def drag(browser, grip):
    """To the right end of the slider, and beyond it."""
    chain = ActionChains(browser).click_and_hold(grip)
    for _ in range(9):
        chain = chain.move_by_offset(100, 0)
    chain.release().perform()


@pytest.mark.long
def test_slider_menu_and_filter_work_in_a_browser(browser, page):
    browser.get(page.as_uri())
    find = browser.find_element
    before = discs(browser)
    assert np.ptp([radius(path) for _, path in before]) == pytest.approx(0, abs=6)
    drag(browser, find("css selector", "#moves-interactive .slider-grip-rect"))
    label = find("css selector", "#moves-interactive .slider-label")
    WebDriverWait(browser, 10).until(lambda _: label.text == "step 40")
    expected = radius(before[3][1]) * np.exp((-0.1 - 0.1) * 40 / 2)
    WebDriverWait(browser, 10).until(
        lambda browser: radius(discs(browser)[3][1]) == pytest.approx(expected, rel=0.05)
    )
    # the largest of its level
    assert radius(discs(browser)[0][1]) == pytest.approx(radius(before[0][1]))

    assert orange(browser) == {0, 1, 4}
    find("css selector", "#moves-interactive .updatemenu-header").click()
    find("xpath", "//*[contains(@class, 'updatemenu-dropdown-button')]//*[text()='right']").click()
    WebDriverWait(browser, 10).until(lambda browser: orange(browser) == {2, 3, 5})

    shown = find("id", "shown")
    assert shown.text == "2 of 2 shown"
    find("id", "search").send_keys("left fig")
    assert shown.text == "1 of 2 shown"
    find("id", "search").clear()
    find("id", "holds").send_keys("no")
    assert shown.text == "1 of 2 shown"
    assert "right grows" in find("id", "table").text
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    # Plotly rejects the promise of a frame that the next one overtakes, with no reason given
    assert [text for text in severe if not text.endswith("Uncaught (in promise)")] == []
