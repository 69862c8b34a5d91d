"""A visit in headless Chromium: search, rerank, upload, region graph; no error on the way."""

import re
from pathlib import Path

import pytest

from tests.app_server import running_app
from tests.geo.rasters import picture, write
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
    opened.locator("#rs-results .rs-card").first.wait_for()  # of the gallery
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
    page.locator("#rs-results .rs-score").first.wait_for()


def names(page):
    """Return the file names on the cards, in order."""
    return page.locator("#rs-results .rs-subtitle").all_inner_texts()


def open_card(page, place):
    page.locator("#rs-results .rs-card").nth(place).click()
    page.locator("#rs-detail:not([data-waiting]) .rs-detail img").wait_for()


def shown_name(page):
    return page.locator("#rs-detail .rs-detail").get_attribute("data-copy")


@pytest.fixture
def narrow(page):
    page.set_viewport_size({"width": 400, "height": 860})
    return page


def test_the_first_screen_is_the_gallery(page):
    card = page.locator("#rs-results .rs-card")
    card.first.wait_for()
    assert card.first.bounding_box()["y"] < 500  # of 900, a notice included
    assert card.count() == 21
    assert not page.locator("#rs-options").is_visible()
    tops = [chip.bounding_box()["y"] for chip in page.locator(".rs-chips button").all()[:6]]
    assert len(set(tops)) == 1  # none alone on a second line


def test_a_query_shows_pictures_and_smr_shows_ranks_move(page):
    search(page, "boats moored beside a pier")
    assert page.locator("#rs-results .rs-card").count() == 12
    assert page.locator("#rs-results .rs-move").count() == 0
    before = names(page)
    page.get_by_label("Rerank (SMR)").check()
    page.locator("#rs-results .rs-move").first.wait_for()
    assert any(
        "up " in text or "down " in text
        for text in page.locator("#rs-results .rs-move").all_inner_texts()
    )
    assert names(page) != before
    page.get_by_role("button", name="More options").click()
    assert page.locator("#rs-rerank").get_by_role("radio", name="SMR").is_checked()
    page.locator("#rs-rerank").get_by_role("radio", name="None").check()
    page.locator("#rs-results .rs-move").first.wait_for(state="detached")
    assert names(page) == before


def test_a_result_opens_over_the_grid_and_goes_on_by_arrows(page):
    search(page, "boats moored beside a pier")
    cards, order = page.locator("#rs-results .rs-card"), names(page)
    before = cards.nth(7).bounding_box()
    open_card(page, 2)
    assert cards.nth(7).bounding_box() == before
    assert shown_name(page) == order[2]
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"document.querySelector('#rs-detail .rs-detail')?.dataset.copy === '{order[3]}'"
    )
    assert cards.nth(3).get_attribute("aria-current") == "true"
    assert page.locator(".rs-chosen").count() == 1
    assert "open=4" in page.url
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        f"document.querySelector('#rs-detail .rs-detail')?.dataset.copy === '{order[0]}'"
    )
    page.keyboard.press("Escape")
    page.locator("#rs-detail").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.dataset.item") == "0"
    page.wait_for_url(lambda url: "open" not in url)


def test_the_open_result_keeps_the_keyboard(page):
    search(page, "planes")
    open_card(page, 0)
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('#rs-detail') !== null")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.locator("#rs-detail").wait_for(state="hidden")


def test_arrows_go_between_cards_and_enter_opens_one(page):
    search(page, "planes")
    page.locator("#rs-results .rs-card").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    at = int(page.evaluate("document.activeElement.dataset.item"))
    assert at > 2
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.locator("#rs-detail .rs-detail img").wait_for()
    assert shown_name(page) == names(page)[at]


def test_back_reload_and_a_shared_address_bring_the_same_back(page, launch):
    search(page, "boats moored beside a pier")
    first = names(page)
    search(page, "two tennis courts between trees")
    page.wait_for_url("**/?q=two*")
    second = names(page)
    assert first != second
    open_card(page, 1)
    page.wait_for_url("**open=2")
    address = page.url
    page.go_back()
    page.locator("#rs-detail").wait_for(state="hidden")
    page.go_back()
    value = "document.querySelector('#rs-query :is(input, textarea)').value"
    page.wait_for_function(f"{value} === 'boats moored beside a pier'")
    assert names(page) == first
    for visit in (lambda: page.goto(address), page.reload):
        visit()
        page.locator("#rs-detail[data-open] .rs-detail img").wait_for()
        assert shown_name(page) == second[1] and names(page) == second
    page.goto(f"{launch[1]}/?tab=about")
    page.get_by_role("tab", name="About", selected=True).wait_for()


def test_a_phone_stands_at_the_results_after_a_search(narrow):
    search(narrow, "planes")
    top = "document.querySelector('{}').getBoundingClientRect().top < 60"
    narrow.wait_for_function(top.format("#rs-message"))
    assert narrow.locator("#rs-results .rs-card").first.bounding_box()["y"] < 430
    narrow.get_by_role("tab", name="Picture").click()
    narrow.locator("#rs-picture-samples .rs-sample").first.click()
    narrow.wait_for_function(top.format("#rs-picture-message"))


def test_a_page_that_is_loaded_again_and_again_stays_whole(page):
    for _ in range(4):
        page.reload(wait_until="domcontentloaded")
        page.get_by_role("button", name="Search", exact=True).wait_for()


def test_an_example_searches_with_one_click_and_a_card_opens_by_keyboard(page):
    page.get_by_role("button", name="a golf course with bunkers").click()
    page.locator("#rs-results .rs-score").first.wait_for()
    page.locator("#rs-results .rs-card").nth(2).focus()
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


def test_find_similar_shows_others_in_the_place_of_the_results(page):
    page.get_by_text("1 picture was left out").wait_for()  # ready: the page asks no more by itself
    search(page, "a bridge over a wide river")
    open_card(page, 0)
    name = shown_name(page)
    page.locator("#rs-similar").click()
    page.get_by_text(f"Most like {name}").wait_for()
    page.locator("#rs-detail").wait_for(state="hidden")
    others = names(page)
    assert len(others) == 12 and name not in others
    assert f"like={name}" in page.url
    page.reload()
    page.get_by_text(f"Most like {name}").wait_for()
    assert names(page) == others


def test_the_file_and_the_path_of_a_result_can_be_taken(page, launch):
    search(page, "planes")
    open_card(page, 0)
    name = shown_name(page)
    with page.expect_download() as download:
        page.locator("#rs-download").click()
    assert download.value.suggested_filename == name
    assert download.value.path().read_bytes() == (launch[0] / "gallery" / name).read_bytes()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy path").click()
    assert page.evaluate("navigator.clipboard.readText()") == name


def test_the_region_graph_of_a_result_explains_its_words(page):
    search(page, "a bridge over a wide river")
    open_card(page, 0)
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
    chips = page.locator(".rs-chips").filter(has_text="a running track")
    assert chips.evaluate("row => row.scrollWidth <= row.clientWidth")  # none is cut
    query = page.get_by_label("What do you look for in the scene?")
    query.fill("planes")
    query.press("Enter")
    page.locator("#rs-scene-hits .rs-card").nth(7).wait_for()
    assert page.locator(".js-plotly-plot").count() == 1  # drawn once
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


def test_a_figure_fits_a_phone_without_bands(narrow):
    narrow.get_by_role("tab", name="Scene").click()
    narrow.locator("#rs-scene-sample").click()
    narrow.locator("#rs-scene-figure .main-svg").first.wait_for()
    box = narrow.locator("#rs-scene-figure .js-plotly-plot").bounding_box()
    image = narrow.locator("#rs-scene-figure image").first.bounding_box()
    assert image["width"] == pytest.approx(box["width"], abs=6)
    assert image["height"] == pytest.approx(box["height"], abs=6)
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_basemap_is_asked_for_by_a_visitor_alone(browser, launch):
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(SLOW)
    asked = []
    page.route(
        re.compile("^https:"), lambda route: (asked.append(route.request.url), route.abort())
    )
    page.goto(f"{launch[1]}/?tab=scene", wait_until="domcontentloaded")
    page.get_by_role("tab", name="Scene", selected=True).wait_for()
    page.locator("#rs-scene-sample").click()
    page.locator("#rs-scene-figure .main-svg").first.wait_for()
    assert all(url.startswith(("http://127.0.0.1", "data:", "blob:")) for url in asked)
    asked.clear()
    page.get_by_label("Basemap").check()
    page.get_by_text("OpenStreetMap contributors").first.wait_for()
    page.wait_for_timeout(1000)
    remote = [url for url in asked if url.startswith("https:")]
    assert remote and all(url.startswith("https://tile.openstreetmap.org/") for url in remote)
    page.close()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_geotiff_is_shown_searched_and_opened_in_scene(page, tmp_path, dtype):
    values = picture(300, 200).astype(dtype) * (1 if dtype == "uint8" else 200)
    file = write(tmp_path / "town.tif", values)
    page.get_by_role("tab", name="Picture").click()
    page.locator("#rs-picture input[type=file]").set_input_files(file)
    page.locator("#rs-captions .rs-sentence").first.wait_for()
    page.wait_for_function("document.querySelector('#rs-picture img')?.naturalWidth === 300")
    page.locator("#rs-to-scene").click()
    page.get_by_text("town.tif is open").wait_for()
    page.locator("#rs-scene-figure .main-svg").first.wait_for()
    assert "tab=scene" in page.url


def test_a_file_that_is_no_scene_is_refused_in_words(page, launch):
    page.get_by_role("tab", name="Scene").click()
    upload = page.locator("#rs-scene-upload input[type=file]")
    upload.set_input_files(launch[0] / "gallery" / "aa_broken.png")
    page.get_by_text("This scene cannot be used").wait_for()


def test_every_image_has_a_description(page):
    search(page, "planes")
    assert page.locator("img:not([alt])").count() == 0


def test_the_page_fits_a_phone(narrow):
    search(narrow, "planes")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 400
    for name in ("Search", "Picture", "Region graph", "Scene", "About"):
        assert narrow.get_by_role("tab", name=name).is_visible()
    open_card(narrow, 0)
    for name in ("Find similar", "Explain", "Download", "Copy path", "Close", "Next picture"):
        button = narrow.get_by_role("dialog").get_by_role("button", name=name)
        button.scroll_into_view_if_needed()
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 400, name


def test_marks_by_keys_lead_to_another_answer_a_concept_and_a_file(page, tmp_path):
    search(page, "many houses along a road")
    first, second, third = names(page)[:3]
    for place, key in enumerate("gbc"):
        page.locator("#rs-results .rs-card").nth(place).focus()
        page.keyboard.press(key)
        kind = ("good", "bad", "keep")[place]
        pressed = f"[data-act={kind}][aria-pressed=true]"
        page.locator("#rs-results li").nth(place).locator(pressed).wait_for()
    page.get_by_role("button", name="Search again").click()
    page.get_by_text("Searched again with 2 marks").wait_for()
    assert third in names(page) and not {first, second} & set(names(page))
    page.get_by_text("Concepts: keep the marks").click()
    with page.expect_download() as concept:
        page.get_by_role("button", name="Save the marks").click()
    concept.value.save_as(tmp_path / "concept.json")
    page.get_by_role("button", name="Forget the marks").click()
    page.locator("#rs-marks .rs-saved").first.wait_for(state="detached")
    page.locator("#rs-concept input[type=file]").set_input_files(tmp_path / "concept.json")
    page.locator("#rs-marks .rs-mark-bad").wait_for()
    page.locator("#rs-collection").get_by_text("Collection", exact=True).first.click()
    with page.expect_download() as collected:
        page.get_by_role("button", name="Export").click()
    assert collected.value.suggested_filename == "collection.zip"
