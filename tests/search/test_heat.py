"""One heat map of a query: windows near and far, a peak, and the box of what is there."""

import pytest
import torch
from PIL import Image

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.search.confidence import typical_sentences
from rsctir_hf.search.heat import (
    CELLS,
    SCALES,
    HeatMap,
    Looks,
    Scale,
    lay_out,
    look_at,
    overlaid,
)
from rsctir_hf.search.query import QueryPart
from rsctir_hf.search.retriever import Retriever
from tests.foreign_encoders import tiny_clip
from tests.miniature import draw_picture
from tests.models.tiny_cmpagl import seeded_model, tiny_processor, tiny_stem_config


@pytest.fixture(scope="module")
def encoder():
    model = seeded_model(tiny_stem_config(stem_skip_levels=True))
    return Encoder(model, tiny_processor(model), id="tiny")


def test_windows_cover_the_picture_and_overlap():
    assert Scale(1, 1.0).windows() == [(0, 0, 1, 1)]
    windows = Scale(3, 0.5).windows()
    assert windows[1] == (0.25, 0, 0.75, 0.5) and windows[-1] == (0.5, 0.5, 1, 1)


@pytest.mark.parametrize("scale", SCALES)
def test_equal_values_lie_out_as_one_value(scale):
    values = torch.full((scale.side**2, 49 if scale.patches else 1), 0.25)
    assert torch.allclose(lay_out(values, scale), torch.full((CELLS, CELLS), 0.25))


def test_a_window_counts_most_in_its_middle():
    values = torch.zeros(9, 1)
    values[5] = 1  # the middle row's last window: x from 1/2, y from 1/4
    cells = lay_out(values, Scale(3, 0.5))
    x, y = HeatMap(cells).peak
    assert x > 0.75 and y == pytest.approx(0.5, abs=0.02)
    row = cells[CELLS // 2]
    assert 0 < row[34] < row[38] < row[42] < row[44] and not row[:30].any()


def test_patches_lie_where_they_are_in_their_window():
    values = torch.zeros(1, 9)
    values[0, 2] = 1  # upper right
    x, y = HeatMap(lay_out(values, Scale(1, 1.0))).peak
    assert x > 0.8 and y < 0.2


def test_heat_is_what_is_more_like_the_query_than_like_an_average_sentence():
    query, average = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.5])
    vectors = torch.zeros(9, 1, 2)
    vectors[0, 0], vectors[8, 0] = torch.tensor([0.6, 0.0]), torch.tensor([0.8, 0.6])
    looks = Looks([(Scale(3, 0.5), vectors)])
    assert looks.heat(query - average).peak[0] < 0.3  # 0.6 against 0.8 - 0.3
    assert looks.heat(query).peak[0] > 0.7


def test_the_box_holds_what_hangs_together_with_the_peak():
    cells = torch.zeros(CELLS, CELLS)
    cells[6:12, 30:36] = 1.0
    cells[8, 32] = 1.5
    cells[12, 36] = 0.9  # corner to corner
    cells[50:55, 5:10] = 1.4  # another thing
    found = HeatMap(cells)
    assert found.peak == ((32 + 0.5) / CELLS, (8 + 0.5) / CELLS)
    assert found.box == (30 / CELLS, 6 / CELLS, 37 / CELLS, 13 / CELLS)
    assert found.shares.max() == 1 and found.shares.min() == 0


def test_a_picture_is_looked_at_once_for_any_query(encoder):
    picture = draw_picture(1, side=96)
    looks = look_at(encoder, picture)
    assert [len(vectors) for _, vectors in looks.seen] == [scale.side**2 for scale in SCALES]
    corner = encoder.images([picture.crop((48, 48, 96, 96))]).vectors[0]
    (halves,) = (vectors for scale, vectors in looks.seen if scale == Scale(3, 0.5))
    assert torch.allclose(halves[-1, 0], corner, atol=1e-5)
    first, second = (looks.heat(v) for v in encoder.texts(["a river", "planes"]))
    assert first.cells.isfinite().all() and not torch.equal(first.cells, second.cells)


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (3, 3)])
def test_the_smallest_pictures_have_a_heat_map(encoder, size):
    looks = look_at(encoder, Image.new("RGB", size, "green"))
    heat = looks.heat(encoder.texts(["a river"])[0])
    assert heat.cells.isfinite().all()
    x1, y1, x2, y2 = heat.box
    assert 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1


def test_words_are_asked_for_beyond_an_average_caption(encoder):
    maps = Retriever(encoder, bank=("a river",)).heat  # whatever the bank
    average = encoder.texts(typical_sentences()).mean(dim=0)
    said = encoder.texts(["planes"])[0]
    assert torch.allclose(maps.direction("planes"), said - average, atol=1e-5)


def test_a_picture_and_parts_of_a_query_have_a_heat_map_and_what_is_not_wanted_has_none(encoder):
    maps, picture = Retriever(encoder).heat, draw_picture(2, side=64)
    boats, other = maps.direction("many boats at a pier"), encoder.image(picture)
    assert torch.allclose(maps.direction(picture), other)
    parts = ["many boats at a pier", QueryPart(image=picture, weight=2.0)]
    assert torch.allclose(maps.direction(parts), boats + 2 * other, atol=1e-5)
    unwanted = QueryPart("a river", wanted=False)
    assert torch.allclose(maps.direction(["many boats at a pier", unwanted]), boats, atol=1e-6)
    with pytest.raises(QueryError, match="names nothing"):
        maps.of(picture, [unwanted])


def test_a_model_without_patches_sees_whole_windows():
    encoder = Encoder(*tiny_clip(), id="clip")
    looks = look_at(encoder, draw_picture(3, side=64))
    assert {vectors.shape[1] for _, vectors in looks.seen} == {1}


def test_the_drawn_heat_is_clear_at_the_mean_and_bright_at_the_peak():
    cells = torch.zeros(CELLS, CELLS)
    cells[45:, 45:] = 1.0
    picture = Image.new("RGB", (120, 60), (40, 90, 40))
    drawn = overlaid(picture, HeatMap(cells))
    assert drawn.size == (120, 60) and drawn.getpixel((10, 10)) == (40, 90, 40)
    red, green, blue = drawn.getpixel((110, 55))
    assert red > 180 and green > 180 and blue < 60
