"""The page of an invented study in a real browser: every control, every reader."""

import json

import matplotlib
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from fake_results import write, write_figures

from vpaudit.base.labels import number
from vpaudit.report import figures, words
from vpaudit.report import page as report
from vpaudit.report.page import sprites
from vpaudit.report.results import Results

MU = (1.0, 5.0, 20.0, 100.0)
LAST = len(MU) - 1
PIXELS = """canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return [...copy.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, i) => i % 4 < 3); }"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    results = write(folder / "results", mu=MU, images=12)
    write_figures(folder / "figures", figures.NAMES)
    report.build(results, folder / "figures", folder / "report.html")
    report.build(results, folder / "figures", folder / "redacted.html", redact=True)
    return folder


@pytest.fixture
def page(show, study):
    return show(study / "report.html")


def arrays(study, kind, mu=None):
    return Results(study / "results").arrays(kind, mu)


def pixels(page, canvas) -> np.ndarray:
    """(H, W, 3) as the screen has them."""
    side = page.locator(canvas).evaluate("canvas => canvas.width")
    return np.array(page.locator(canvas).evaluate(PIXELS)).reshape(-1, side, 3)


def grey(image) -> np.ndarray:
    """(1, H, W) in [-1, 1], clipped, as (H, W, 3) bytes."""
    return np.repeat(np.round((np.clip(image[0], -1, 1) + 1) / 2 * 255)[..., None], 3, axis=-1)


def check(page, study, place, mu, name="unconditional.ddim", draw=0):
    """What is drawn is what lies in the arrays, pixel for pixel."""
    with arrays(study, "targets") as targets, arrays(study, "observations", mu) as seen:
        target = np.repeat(targets["images"][place][..., None], 3, axis=-1)
        released = grey(seen["y"][place] / seen["lam"][place])
    with arrays(study, "reconstructions", mu) as made:
        output = grey(made[name][draw, place])
        spread = made["unconditional.ddpm"][:, place, 0].std(axis=0, ddof=1)
    colours = matplotlib.colormaps["cividis"](np.round(np.clip(spread / sprites.SPREAD, 0, 1) * 254) / 254)[..., :3]
    for canvas in ("#target", "#wipe-target"):
        assert np.array_equal(pixels(page, canvas), target)
    assert np.array_equal(pixels(page, "#released"), released)
    for canvas in ("#reconstruction", "#wipe-made"):
        assert np.array_equal(pixels(page, canvas), output)
    assert np.abs(pixels(page, "#map") - 255 * colours).max() <= 3
    table = Results(study / "results").agreement
    rows = table[(table["metric"] == "pixel_std") & (table["mu"] == mu) & (table["image"] == 3 * place + 1)]
    assert number(rows["agreement"].item()) in page.inner_text("#map-value")


def test_the_slider_moves_everything_by_keyboard(page, study):
    page.focus("#mu")
    page.keyboard.press("Home")
    levels = words.audit(Results(study / "results"), json.loads((study / "results/summary.json").read_text()))
    for step in range(3):
        level = f"µ = {MU[step]:g}, ε = {number(levels[step]['epsilon'])}"
        assert page.locator("#mu").get_attribute("aria-valuetext") == level
        assert f"ε = {number(levels[step]['epsilon'])}" in page.inner_text("#level")
        assert page.inner_text("#shows") == levels[step]["shows"]
        assert page.locator("#sentences li").all_text_contents() == levels[step]["sentences"]
        assert page.text_content("#status").startswith(level)
        assert level in page.get_attribute("#released", "aria-label")
        check(page, study, 0, MU[step])
        page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    check(page, study, 0, MU[-1])


def test_slider_and_charts_follow_the_pointer(page, study):
    box = page.locator("#mu").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert page.input_value("#mu") == str(LAST)
    before = [float(x) for x in page.locator("line.rule").evaluate_all("lines => lines.map(l => l.getAttribute('x1'))")]
    chart = page.locator("#charts svg").nth(1)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.click(box["x"] + 0.15 * box["width"], box["y"] + 0.7 * box["height"])
    assert page.input_value("#mu") == "0"
    after = [float(x) for x in page.locator("line.rule").evaluate_all("lines => lines.map(l => l.getAttribute('x1'))")]
    assert len(before) == 4
    assert all(a < b - 200 for a, b in zip(after, before))


def test_means_beside_the_charts_are_those_of_the_tables(page, study):
    read = Results(study / "results")
    page.fill("#mu", "3")
    rows = page.locator("#means tbody tr").all_inner_texts()
    curve = read.curve("unconditional", "ddim", "ssim").set_index("mu").loc[MU[3]]
    cells = next(row for row in rows if row.startswith("DDIM\t"))
    assert f"{number(curve['value'])}\n{number(curve['low'])} to {number(curve['high'])}" in cells
    floor = next(row for row in rows if row.startswith("floor"))
    assert number(words.at(read.bound("floor", "mse"), MU[3])["value"]) in floor
    assert number(read.unrelated("ncc").mean()) in next(row for row in rows if row.startswith("unrelated"))
    assert f", DDIM {number(curve['value'])}" in page.text_content("#chart-ssim")


def test_the_image_is_picked_by_pointer_and_keyboard(page, study):
    order = sprites.pick(np.load(study / "results/targets.npz")["labels"])
    page.locator("#picker label").nth(4).click()
    check(page, study, order[4], MU[LAST // 2])
    assert page.locator("details.sheet:visible").count() == 1
    assert page.locator("#sheet-4").is_visible()
    page.keyboard.press("ArrowRight")
    check(page, study, order[5], MU[LAST // 2])
    assert page.get_attribute("#target", "aria-label") == "Target, image 6: class 5"
    assert page.text_content("#status").count("image 6: class 5") == 1


def test_every_output_and_draw_can_be_shown_large(page, study):
    names = page.locator("#gallery label").all_inner_texts()
    assert [name for name in names if "DDPM" in name] == ["DDPM sample 1", "DDPM sample 2", "DDPM sample 3"]
    page.get_by_role("radio", name="DDPM sample 3").check(force=True)
    check(page, study, 0, MU[LAST // 2], "unconditional.ddpm", 2)
    page.keyboard.press("ArrowLeft")
    check(page, study, 0, MU[LAST // 2], "unconditional.ddpm", 1)
    assert page.locator("#own tr.current th").inner_text().endswith("DDPM sample 2")
    table = Results(study / "results").metrics
    pick = f"image == 1 and attack == 'ddpm' and draw == 1 and mu == {MU[LAST // 2]} and metric == 'mse'"
    assert f"MSE {number(table.query(pick)['value'].item())} " in page.inner_text("#made-values")


def test_the_wipe_by_keyboard_and_pointer(page):
    front = page.locator("#wipe-made")
    page.focus("#wipe")
    page.keyboard.press("Home")
    assert front.evaluate("c => c.style.clipPath") in ("inset(0px 0px 0px 0%)", "inset(0 0 0 0%)")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#wipe", "aria-valuetext") == "1 % target, 99 % DDIM"
    page.locator("#stack").scroll_into_view_if_needed()
    box = page.locator("#stack").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 60)
    page.mouse.up()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 60)
    assert abs(int(page.input_value("#wipe")) - 75) <= 1
    assert "75%" in front.evaluate("c => c.style.clipPath") or "74%" in front.evaluate("c => c.style.clipPath")


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        ("report.html", "light", 1100),
        ("report.html", "dark", 380),
        ("redacted.html", "light", 380),
        ("redacted.html", "dark", 1100),
    ],
)
def test_axe_finds_nothing(show, study, name, scheme, width):
    page = show(study / name, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in found] == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_the_focus_is_seen_on_every_control(page):
    page.locator("nav a").last.focus()
    seen = []
    for _ in range(5):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("""() => {
            const at = document.activeElement, frame = at.closest("label") || at;
            return [at.id || at.name, parseFloat(getComputedStyle(frame).outlineWidth)]; }""")
        )
    assert [name for name, _ in seen[:4]] == ["mu", "image", "output", "wipe"]
    assert all(width >= 3 for _, width in seen[:4])


def test_nothing_scrolls_sideways_on_a_phone(show, study):
    page = show(study / "report.html", viewport={"width": 380, "height": 800}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.locator("#picker label").nth(8).tap()
    assert page.get_attribute("#target", "aria-label").startswith("Target, image 9")


def test_in_print_every_level_stands_and_no_control(page, tmp_path):
    page.locator("#picker label").nth(2).click()
    page.emulate_media(media="print")
    for control in ("#mu", "#picker", "#gallery", "#wipe", "nav"):
        assert not page.locator(control).is_visible()
    assert page.locator("#sheet-2").is_visible()
    assert page.locator("#sheet-2").evaluate("i => i.naturalWidth") == len(MU) * 17 - 1
    for text in ("What can be said of each level", "The numbers of this figure"):
        inside = page.locator("details", has_text=text)
        assert inside.locator("li, td").last.is_visible()
    document = page.pdf(format="A4")
    assert document.startswith(b"%PDF")
    assert len(document) > 20_000


def test_without_javascript_text_figures_and_sheets_are_there(show, study):
    page = show(study / "report.html", java_script_enabled=False)
    assert not page.locator("#mu").is_visible()
    assert "needs JavaScript" in page.inner_text("#explore")
    assert page.locator("#sheet-0").is_visible()
    assert not page.locator("#sheet-1").is_visible()
    page.locator("details.sheet summary").nth(1).click()
    assert page.locator("#sheet-1").is_visible()
    assert page.locator("figure > img").count() == len(figures.NAMES)
    assert page.locator("#plain tbody tr").count() == len(MU)


def test_a_redacted_page_moves_numbers_and_holds_no_image(show, study):
    page = show(study / "redacted.html")
    assert "Redacted" in page.inner_text("#privacy")
    assert page.locator("canvas").count() == 0
    assert page.locator("img").count() == len(figures.NAMES) - 1
    page.focus("#mu")
    page.keyboard.press("End")
    page.get_by_role("radio", name="image 3: class 2").check()
    table = Results(study / "results").metrics.query(f"image == 7 and mu == {MU[-1]} and attack == 'ddim'")
    row = page.locator("#own tbody tr", has_text="DDIM").first.inner_text()
    values = table.set_index("metric")["value"]
    assert all(number(values[metric]) in row for metric in ("mse", "ssim", "lpips_vgg_64"))


def test_motion_is_reduced_when_asked(show, study):
    for motion, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
        page = show(study / "report.html", reduced_motion=motion)
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behaviour
