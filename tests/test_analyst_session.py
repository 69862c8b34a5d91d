"""One visit in headless Chromium, from an empty page to a concept and a table of places."""

import json

import geopandas
import pytest
import shapely

from rsctir_hf.search.concept import Concept
from tests.app_server import running_app
from tests.test_browser import CHROMIUM, FLAGS, SLOW, names, search
from tests.ui.tiny_models import BANK, save_launch

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is absent: apt install chromium"),
]


def place(number):
    return [8 + number / 10, 53, 8.05 + number / 10, 53.05]


def number_of(name):
    return int(name[6:8])  # block_07.png


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    flags = save_launch(folder)
    file = folder / "gallery" / "metadata.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for number, row in enumerate(rows):
        row |= {"bounding_box": place(number), "sensor": "AB"[number % 2], "date": "2024-05-02"}
    file.write_text("\n".join(map(json.dumps, rows)))
    with running_app(flags, folder / "log.txt") as url:
        yield url


@pytest.fixture
def page(launch):
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        opened = chromium.new_page(viewport={"width": 1300, "height": 900})
        opened.set_default_timeout(SLOW)
        troubles = []
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        opened.goto(launch, wait_until="domcontentloaded")
        opened.locator("#rs-results .rs-card").first.wait_for()  # the gallery: nothing is asked
        yield opened
        chromium.close()
    assert troubles == []


def press(page, number, key):
    """Mark a result by its key, and wait until it is marked."""
    page.locator("#rs-results .rs-card").nth(number).focus()
    page.keyboard.press(key)
    kind = {"g": "good", "b": "bad", "c": "keep"}[key]
    page.locator("#rs-results li").nth(number).locator(
        f"[data-act={kind}][aria-pressed=true]"
    ).wait_for()


def taken(page, button, file):
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    download.value.save_as(file)
    return download.value.suggested_filename


def test_from_an_empty_page_to_a_concept_and_a_table_of_places(page, tmp_path):
    assert page.locator("#rs-results .rs-score, #rs-marks .rs-saved").count() == 0
    search(page, BANK[0])
    good, bad = names(page)[:2]
    press(page, 0, "g")
    press(page, 1, "b")
    page.get_by_role("button", name="Search again").click()
    page.get_by_text("Searched again with 2 marks").wait_for()
    kept = names(page)[:2]
    assert not {good, bad} & set(names(page))
    press(page, 0, "c")
    press(page, 1, "c")

    page.get_by_text("Concepts: keep the marks").click()
    page.get_by_label("Name of the concept").fill("my piers")
    assert taken(page, "Save the marks", tmp_path / "piers.json") == "my_piers.json"
    concept = Concept.load(tmp_path / "piers.json")
    assert (concept.name, concept.words) == ("my piers", BANK[0])
    assert {mark.path: mark.good for mark in concept.marks} == {good: True, bad: False}

    page.locator("#rs-collection").get_by_text("Collection", exact=True).first.click()
    page.get_by_label("Format").click()
    page.get_by_role("option", name="GeoParquet").click()
    assert taken(page, "Export", tmp_path / "piers.parquet") == "collection.parquet"
    table = geopandas.read_parquet(tmp_path / "piers.parquet")
    assert table["path"].tolist() == kept and table.crs == "OGC:CRS84"
    for name, shape in zip(kept, table.geometry, strict=True):
        assert shape.normalize().equals_exact(
            shapely.box(*place(number_of(name))).normalize(), 1e-9
        )
    assert set(table["sensor"]) <= {"A", "B"} and len(table["embedding"].iloc[0]) == len(
        concept.direction
    )


def test_parts_and_filters_are_in_the_address_and_come_back_from_it(page):
    search(page, BANK[0])
    page.get_by_role("button", name="More options").click()
    page.locator("#rs-more").get_by_text("More about the query").click()
    page.locator(".rs-places circle").first.wait_for()
    page.locator("#rs-where input").click()
    page.get_by_role("option", name="sensor: A").click()
    page.wait_for_url("**where=sensor%3DA**")
    page.get_by_text("Best of 10 pictures").wait_for()
    page.get_by_label("Part 3: words").fill("sand")
    page.get_by_label("Part 4: words").fill("image: block_04.png")
    page.get_by_role("button", name="Search with all of it").click()
    page.wait_for_url("**not=sand**")
    found, address = names(page), page.url
    assert len(found) == 10 and all(number_of(name) % 2 == 0 for name in found)
    assert "image=block_04.png" in address
    page.goto(address, wait_until="domcontentloaded")
    page.locator("#rs-results .rs-rank").first.wait_for()
    assert names(page) == found
    page.get_by_role("button", name="More options").click()
    page.locator("#rs-more").get_by_text("More about the query").click()
    page.wait_for_function("document.querySelector('#rs-more textarea, #rs-more .rs-part input')")
    said = [page.get_by_label(f"Part {number}: words").input_value() for number in (2, 3)]
    assert sorted(said) == ["image: block_04.png", "sand"]
    page.get_by_role("button", name="Search with all of it").click()
    page.wait_for_timeout(1000)
    assert names(page) == found and page.url == address


def test_a_box_drawn_on_the_map_narrows_the_answer(page):
    search(page, BANK[0])
    page.get_by_role("button", name="More options").click()
    page.locator("#rs-more").get_by_text("More about the query").click()
    places = page.locator(".rs-places")
    places.locator("circle").nth(19).wait_for()
    box = places.bounding_box()
    places.hover(position={"x": 9, "y": 9})  # waits until it lies still
    page.mouse.down()
    places.hover(position={"x": box["width"] / 2, "y": box["height"] - 9})
    page.mouse.up()
    page.wait_for_url("**bbox=**")
    page.get_by_text("Best of 10 pictures").wait_for()  # the western half
    assert all(number_of(name) < 10 for name in names(page))
