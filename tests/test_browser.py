"""A visit in headless Chromium: search, rerank, upload, region graph; no error on the way."""

import json
from pathlib import Path

import pytest

from tests.app_server import running_app
from tests.ui.tiny_models import save_launch

pytest.importorskip("gradio", reason="the app needs the extra 'app'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SLOW = 60_000  # milliseconds a shared machine may take

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is absent: apt install chromium"),
]


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    flags = save_launch(folder)
    with running_app(flags, folder / "log.txt") as url:
        yield folder, url


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, launch):
    opened = browser.new_page(viewport={"width": 1300, "height": 900})
    opened.set_default_timeout(SLOW)
    troubles = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("request", lambda request: _note_if_remote(request.url, troubles))
    opened.goto(launch[1], wait_until="domcontentloaded")
    opened.get_by_role("button", name="Search", exact=True).wait_for()
    yield opened
    opened.close()
    assert troubles == []


def _note_if_remote(url, troubles):
    if not url.startswith(("http://127.0.0.1", "data:", "blob:")):
        troubles.append(f"left loopback: {url}")


def search(page, query):
    box = page.get_by_label("What are you looking for?")
    box.fill(query)
    box.press("Enter")
    page.locator("#rs-results .rs-card").first.wait_for()


def test_a_query_shows_pictures_and_smr_shows_ranks_move(page):
    search(page, "boats moored beside a pier")
    cards = page.locator("#rs-results .rs-card")
    assert cards.count() == 12
    assert page.locator("#rs-results .rs-move").count() == 0
    before = [cards.nth(place).get_attribute("aria-label") for place in range(12)]
    page.locator("#rs-rerank").get_by_role("radio", name="SMR").check()
    page.locator("#rs-results .rs-move").first.wait_for()
    after = [cards.nth(place).get_attribute("aria-label") for place in range(12)]
    assert any("up " in label or "down " in label for label in after)
    assert [name.split(",")[0] for name in before] != [name.split(",")[0] for name in after]


def test_a_page_that_is_loaded_again_and_again_stays_whole(page):
    for _ in range(4):
        page.reload(wait_until="domcontentloaded")
        page.get_by_role("button", name="Search", exact=True).wait_for()


def test_an_example_searches_with_one_click_and_a_card_opens_by_keyboard(page):
    page.get_by_role("button", name="a golf course with bunkers").click()
    card = page.locator("#rs-results .rs-card").nth(2)
    card.wait_for()
    card.focus()
    page.keyboard.press("Enter")
    page.locator("#rs-detail .rs-detail img").wait_for()
    page.locator("#rs-graph").click()
    page.locator(".js-plotly-plot").wait_for()


def test_an_upload_gets_sentences_and_similar_pictures(page, launch):
    page.get_by_role("tab", name="Picture").click()
    upload = page.locator("#rs-picture input[type=file]")
    upload.set_input_files(launch[0] / "gallery" / "block_05.png")
    page.locator("#rs-captions .rs-sentence").first.wait_for()
    page.locator("#rs-similar-results .rs-card").first.wait_for()
    assert page.locator("#rs-captions .rs-sentence").count() == 5


def test_a_picture_taken_away_takes_its_answers_with_it(page):
    for tab, shown in (
        ("Picture", "#rs-similar-results .rs-card"),
        ("Region graph", ".js-plotly-plot"),
    ):
        page.get_by_role("tab", name=tab).click()
        place = "#rs-picture" if tab == "Picture" else "#rs-region-picture"
        page.locator(f"{place}-samples .rs-sample").first.click()
        page.locator(shown).first.wait_for()
        page.locator(f"{place} button[aria-label='Remove Image']").click()
        page.locator(shown).first.wait_for(state="hidden")


def test_find_similar_asks_once(page):
    page.get_by_text("1 picture was left out").wait_for()  # ready: the page asks no more by itself
    search(page, "a bridge over a wide river")
    page.locator("#rs-results .rs-card").first.click()
    page.locator("#rs-detail .rs-detail img").wait_for()
    page.locator("#rs-why .rs-boxes i").first.wait_for()
    calls = []
    page.on("request", lambda request: calls.append(request.url))
    page.locator("#rs-similar").click()
    page.locator("#rs-similar-results .rs-card").first.wait_for()
    page.locator("#rs-captions .rs-sentence").first.wait_for()
    page.wait_for_timeout(2500)  # a second round would begin right after the first
    # The tab with the picture, its neighbours, its sentences.
    assert len([url for url in calls if url.endswith("/queue/join?")]) == 3


def test_the_region_graph_of_a_result_explains_its_words(page):
    search(page, "a bridge over a wide river")
    page.locator("#rs-results .rs-card").first.click()
    page.locator("#rs-detail .rs-detail img").wait_for()
    page.locator("#rs-graph").click()
    page.locator("#rs-region-sentence").get_by_text("For “a bridge over a wide river”").wait_for()
    page.locator("#rs-region-table").get_by_text("contribution").first.wait_for()
    words = page.get_by_label("Explain for these words")
    assert words.input_value() == "a bridge over a wide river"
    words.fill("planes")
    words.press("Enter")
    page.locator("#rs-region-sentence").get_by_text("For “planes”").wait_for()
    words.fill("")
    words.press("Enter")
    page.locator("#rs-region-sentence").get_by_text("For “planes”").wait_for(state="detached")
    assert page.locator("#rs-region-table").get_by_text("contribution").count() == 0


def test_comparisons_are_drawn_when_they_are_opened(page):
    page.get_by_role("tab", name="Region graph").click()
    page.locator("#rs-region-picture-samples .rs-sample").first.click()
    page.locator(".js-plotly-plot").wait_for()
    assert page.locator("#rs-drea svg[role=img]").count() == 0
    page.get_by_role("button", name="Compare the four DREA settings").click()
    page.locator("#rs-drea svg[role=img]").nth(3).wait_for()
    page.get_by_role("button", name="How the model sees the whole picture").click()
    page.locator("#rs-whole").get_by_text("learned weight").first.wait_for()


def test_a_lower_threshold_leaves_regions_out(page):
    page.get_by_role("tab", name="Region graph").click()
    page.locator("#rs-region-picture-samples .rs-sample").first.click()
    page.locator(".js-plotly-plot").wait_for()
    page.locator("#rs-alike input[type=number]").fill("0")
    page.locator("#rs-alike input[type=number]").press("Tab")
    page.get_by_text("With this threshold the region model would look at").wait_for()


def test_a_damaged_upload_is_refused_in_words(page, launch):
    page.get_by_role("tab", name="Picture").click()
    upload = page.locator("#rs-picture input[type=file]")
    upload.set_input_files(launch[0] / "gallery" / "aa_broken.png")
    page.get_by_text("This picture cannot be used").wait_for()


def test_a_sample_shows_its_region_graph_and_table(page):
    page.get_by_role("tab", name="Region graph").click()
    page.locator("#rs-region-picture-samples .rs-sample").first.click()
    page.locator(".js-plotly-plot").wait_for()
    page.locator("#rs-region-table").get_by_text("salience").first.wait_for()
    assert "The region model looks at" in page.locator("#rs-region-sentence").inner_text()


def test_a_scene_is_searched_and_its_hits_can_be_opened_and_downloaded(page):
    page.get_by_role("tab", name="Scene").click()
    page.locator("#rs-scene-sample").click()
    page.get_by_text("The drawn sample scene is open").wait_for()
    query = page.get_by_label("What do you look for in the scene?")
    query.fill("planes")
    query.press("Enter")
    page.locator("#rs-scene-hits .rs-card").nth(7).wait_for()
    page.locator("#rs-scene-map .js-plotly-plot").wait_for()
    page.locator("#rs-scene-table").get_by_text("longitude").first.wait_for()
    with page.expect_download() as download:
        page.locator("#rs-geojson").click()
    assert download.value.suggested_filename == "hits.geojson"
    page.locator("#rs-scene-keep").click()
    page.locator("#rs-scene-saved .rs-saved").wait_for()
    page.locator("#rs-scene-hits .rs-card").nth(1).click()
    page.locator("#rs-scene-detail").get_by_text("Hit 2").wait_for()
    page.locator("#rs-scene-graph").click()
    page.locator("#rs-region-sentence").get_by_text("For “planes”").wait_for()


def test_a_file_that_is_no_scene_is_refused_in_words(page, launch):
    page.get_by_role("tab", name="Scene").click()
    upload = page.locator("#rs-scene-upload input[type=file]")
    upload.set_input_files(launch[0] / "gallery" / "aa_broken.png")
    page.get_by_text("This scene cannot be used").wait_for()


def test_every_image_has_a_description(page):
    search(page, "planes")
    assert page.locator("img:not([alt])").count() == 0


def test_the_page_fits_a_phone(page):
    page.set_viewport_size({"width": 400, "height": 860})
    search(page, "planes")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for name in ("Search", "Picture", "Region graph", "Scene", "About"):
        assert page.get_by_role("tab", name=name).is_visible()


MARKUP = "<img src=x onerror=window.ran=1><script>window.ran=1</script>"
FILE = "<img src=x onerror=window.ran=1>.png"


@pytest.fixture
def hostile(tmp_path):
    """A launch whose file names, captions, categories and sentences are markup that runs."""
    flags = save_launch(tmp_path)
    rows = []
    for number, picture in enumerate(sorted((tmp_path / "gallery").glob("block_*.png"))):
        named = picture.rename(picture.with_name(f"{number:02d}{FILE}"))
        place = [500000.0, 0.5, 0.0, 5000000.0, 0.0, -0.5]
        row = {"file_name": named.name, "captions": [MARKUP, MARKUP], "category": MARKUP}
        rows.append(row | {"geotransform": place, "crs": MARKUP})
    (tmp_path / "gallery" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "bank.txt").write_text("\n".join(f"{MARKUP} {number}" for number in range(6)))
    with running_app(flags, tmp_path / "log.txt") as url:
        yield tmp_path, url


def test_markup_in_names_captions_and_queries_is_shown_as_text(browser, hostile):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(SLOW)
    page.goto(hostile[1], wait_until="domcontentloaded")
    search(page, MARKUP)
    page.locator("#rs-results .rs-card").first.click()
    page.locator("#rs-detail .rs-detail img").wait_for()
    assert page.get_by_text(MARKUP).count() > 1  # as it is written, in cards and detail
    page.get_by_role("button", name="Search your own pictures").click()
    upload = next((hostile[0] / "gallery").glob("05*"))
    broken = hostile[0] / FILE
    broken.write_bytes(b"no picture")
    page.locator("#rs-uploads input[type=file]").set_input_files([upload, broken])
    page.get_by_text("Left out").wait_for()
    page.get_by_role("tab", name="Picture").click()
    page.locator("#rs-picture input[type=file]").set_input_files(upload)
    page.locator("#rs-captions .rs-sentence").first.wait_for()
    assert page.locator("#rs-captions").get_by_text(MARKUP).count() == 5
    page.locator("#rs-similar-results .rs-card").first.wait_for()
    page.get_by_role("tab", name="Region graph").click()
    page.locator("#rs-region-picture input[type=file]").set_input_files(upload)
    page.locator(".js-plotly-plot").first.wait_for()
    assert page.evaluate("window.ran") is None
    page.close()
