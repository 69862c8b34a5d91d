"""Red, green and blue are found by the words that sensors and programs write."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from rsctir_hf.files.bands import choose_bands, in_words
from tests.geo.rasters import write

SENTINEL_2 = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]


def chosen(file, names, *, kinds=None, tags=None, more=()):
    values = np.ones((len(names), 4, 4), np.uint16)
    write(file, values)
    with rasterio.open(file, "r+") as target:
        for band, name in enumerate(names, start=1):
            if name:
                target.set_band_description(band, name)
        if kinds:
            target.colorinterp = [ColorInterp[kind] for kind in kinds]
        target.update_tags(**(tags or {}))
        for band, known in enumerate(more, start=1):
            target.update_tags(band, wavelength=known)
    with rasterio.open(file) as source:
        return choose_bands(source)


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (["blue", "green", "red", "nir"], (3, 2, 1)),
        (["Blue", "Green", "Red"], (3, 2, 1)),
        (["nir", "red", "green", "blue"], (2, 3, 4)),
        (["Near Infra-Red", "Red", "Green", "Blue"], (2, 3, 4)),
        (["rededge", "red_edge_2", "Red", "Green", "Blue"], (3, 4, 5)),
        (["Band 1 (Blue)", "Band 2 (Green)", "Band 3 (Red)", "Band 4 (NIR)"], (3, 2, 1)),
        (["BAND_B", "BAND_G", "BAND_R", "BAND_N"], (3, 2, 1)),
        (["B02", "B03", "B04", "B08"], (3, 2, 1)),
        (["B2", "B3", "B4", "B8"], (3, 2, 1)),
        (["B04", "B03", "B02"], (1, 2, 3)),
        (SENTINEL_2, (4, 3, 2)),
        ([name.replace("B0", "B") + ", central wavelength" for name in SENTINEL_2], (4, 3, 2)),
        (["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"], (4, 3, 2)),
        (["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"], (3, 2, 1)),
        (
            ["coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"],
            (6, 4, 2),
        ),
        (["red", "green", "blue", "nir"], (1, 2, 3)),
    ],
)
def test_names_say_which_bands_are_taken(tmp_path, names, bands):
    found, note = chosen(tmp_path / "a.tif", names)
    assert found == bands
    said = None if bands == (1, 2, 3) else f"{in_words(bands)}, by their names."
    assert note == said


def test_colours_come_before_names_and_names_before_the_order(tmp_path):
    kinds = ["blue", "green", "red", "undefined"]
    found, note = chosen(tmp_path / "a.tif", ["red", "green", "blue", "nir"], kinds=kinds)
    assert found == (3, 2, 1)
    assert note == "Bands 3, 2, 1 are shown as red, green and blue, as the file says."
    naip = ["red", "green", "blue", "undefined"]
    assert chosen(tmp_path / "b.tif", [None] * 4, kinds=naip) == ((1, 2, 3), None)


@pytest.mark.parametrize("names", [["B1", "B2", "B3", "B4"], [None] * 4, ["nir", "red", "green"]])
def test_where_nobody_says_the_first_three_are_taken_and_that_is_told(tmp_path, names):
    found, note = chosen(tmp_path / "a.tif", names)
    assert found == (1, 2, 3)
    assert "does not say which are red, green and blue" in note


def test_two_bands_are_not_three(tmp_path):
    found, note = chosen(tmp_path / "a.tif", ["VV", "VH"])
    assert found == (1,)
    assert note.startswith("Band 1 is shown as grey: the file names VV, VH")
    assert chosen(tmp_path / "b.tif", [None]) == ((1,), None)
    assert chosen(tmp_path / "c.tif", [None] * 3) == ((1, 2, 3), None)
    assert chosen(tmp_path / "d.tif", ["Layer_1", "Layer_2", "Layer_3"]) == ((1, 2, 3), None)


def test_landsat_7_is_known_by_its_file(tmp_path):
    file = tmp_path / "LE07_L2SP_193024_20020712.tif"
    assert chosen(file, ["B1", "B2", "B3", "B4", "B5", "B6", "B7"])[0] == (3, 2, 1)


def test_planets_four_bands_are_known_by_their_file(tmp_path):
    assert chosen(tmp_path / "2023_3B_AnalyticMS_SR_clip.tif", [None] * 4)[0] == (3, 2, 1)
    assert chosen(tmp_path / "2023_3B_Visual.tif", [None] * 4)[0] == (1, 2, 3)


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_of_a_spectrometer_the_nearest_wavelengths_are_taken(tmp_path, unit):
    known = [f"{nanometres / unit} of something" for nanometres in range(400, 1000, 20)]
    found, note = chosen(tmp_path / "a.tif", [None] * len(known), more=known)
    assert [400 + 20 * (band - 1) for band in found] == [660, 560, 480]
    assert "by their wavelengths" in note
