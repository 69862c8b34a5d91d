"""The page as a whole."""

from rsctir_hf.ui.about_tab import figures_table
from rsctir_hf.ui.layout import STYLE, build_app, launch_options, theme
from rsctir_hf.ui.model_facts import Figure, ModelFacts
from rsctir_hf.ui.settings import AppSettings
from rsctir_hf.ui.workbench import Phase, Workbench

ENDPOINTS = {"/text_to_image", "/image_to_text", "/image_to_image", "/region_graph"}


def test_building_the_page_loads_nothing_and_names_four_endpoints():
    bench = Workbench(AppSettings(model="no/such/model"))
    demo = build_app(bench)
    assert bench.status.phase is Phase.WAITING
    assert set(demo.get_api_info()["named_endpoints"]) == ENDPOINTS


def test_the_launch_is_local_and_opens_no_folder():
    options = launch_options(AppSettings())
    assert options["server_name"] is None
    assert options["allowed_paths"] == []
    assert not options["share"]


def test_the_page_fetches_no_fonts_or_styles_from_afar():
    assert theme()._stylesheets == []
    style = STYLE.read_text(encoding="utf-8")
    assert "http" not in style
    assert "@import" not in style


def test_measured_figures_are_listed_with_data_and_rerank():
    facts = ModelFacts("m", 10, (Figure(48.25, "ucm test", "smr"),), "UCM", can_match=False)
    table = figures_table(facts)
    assert "<td>ucm test</td><td>SMR</td><td>48.2</td>" in table
    assert "Trained on UCM." in table
    assert "not evaluated" in figures_table(ModelFacts("m", 10, (), "", can_match=False))
