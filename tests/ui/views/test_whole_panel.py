"""The global window of a CMPAGL-style model over a picture."""

import pytest
import torch
from PIL import Image

from rsctir_hf.errors import UnsupportedError
from rsctir_hf.regions.global_window import GlobalView
from rsctir_hf.ui.views.whole_panel import in_words, look_at_whole, views_over

SEEN = torch.tensor([[0.1, 0.2], [0.3, 0.4]])


def view(scale):
    return GlobalView(SEEN.expand(3, 3, 2, 2), scale)


def test_a_block_says_its_learned_weight_and_how_uneven_it_looks():
    words = in_words(view(torch.tensor([0.02, -0.04])))
    # The mean of 0.02 and 0.04; cells from 0.1 to 0.4.
    assert words == "learned weight 0.030; a cell gets 10.0 to 40.0 % of the attention"
    assert in_words(view(None)).startswith("no learned weight; ")


def test_the_cell_looked_at_most_is_the_brightest():
    html = views_over(Image.new("RGB", (8, 8)), [view(None)])
    shades = [float(part[:4]) for part in html.split("opacity:")[1:]]
    # 0.75 of (0.4 - seen) / 0.3
    assert shades == pytest.approx([0.75, 0.5, 0.25, 0.0])
    assert "repeat(2,1fr)" in html


def test_an_even_view_is_drawn_without_shades():
    even = GlobalView(torch.full((1, 1, 2, 2), 0.25), None)
    assert views_over(Image.new("RGB", (8, 8)), [even]).count("opacity:0.00") == 4


def test_every_block_of_the_model_is_shown_and_other_models_are_refused(bench):
    picture = Image.new("RGB", (64, 64), "green")
    html = look_at_whole(bench.retriever(), picture)
    assert html.count("<figcaption>") == html.count("learned weight ") >= 1
    with pytest.raises(UnsupportedError, match="no global window"):
        look_at_whole(bench.region_retriever(), picture)
