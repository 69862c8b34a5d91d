"""A visit in headless Chromium that ticks what is in the scene, with a head of random weights."""

import pytest

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.labels.code_network import LabelCoder
from rsctir_hf.labels.label_head import LabelHead
from tests.app_server import running_app
from tests.models.tiny_cmpagl import tiny_config
from tests.test_browser import browser, open_card, page, pytestmark
from tests.ui.tiny_models import save_launch

__all__ = ["browser", "page", "pytestmark"]  # the fixtures, on this launch

LABELS = ("bare-soil", "dock", "ship")


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ticked")
    flags = save_launch(folder)
    made_by = Encoder.from_pretrained(folder / "cmpagl").made_by
    head = LabelHead(LABELS, LabelCoder(tiny_config().projection_dim, len(LABELS)), made_by)
    head.save(folder / "cmpagl" / "labels.safetensors")
    with running_app(flags, folder / "log.txt") as url:
        yield folder, url


def test_what_is_ticked_is_searched_for(page):
    page.locator("#rs-options-switch").click()
    page.get_by_text("Tick what is in the scene").click()
    page.get_by_role("button", name="Search by labels").click()
    page.get_by_text("Nothing is ticked").wait_for()
    page.locator("#rs-shows").get_by_label("ship").check()
    page.locator("#rs-lacks").get_by_label("bare soil").check()
    page.get_by_role("button", name="Search by labels").click()
    page.get_by_text("pictures for ship and not bare-soil").wait_for()
    open_card(page, 0)
    assert "Likely" in page.locator("#rs-detail").inner_text()
