"""Folders of pictures without captions, and pairs of two sensors."""

import logging

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.data.uncaptioned import paired_tables, picture_table
from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.pictures import band_count, read_image
from tests.miniature import write_imagefolder, write_pictures


def test_all_pictures_below_a_folder_are_taken_and_no_caption_is_read(tmp_path):
    write_pictures(tmp_path / "a", ["x.png", "y.png"])
    write_pictures(tmp_path / "b" / "c", ["x.png"])
    (tmp_path / "a" / "metadata.jsonl").write_text('{"file_name": "x.png", "captions": ["boats"]}')
    table = picture_table(tmp_path)
    assert table["file_name"][:] == ["a/x.png", "a/y.png", "b/c/x.png"]
    assert table["captions"][:] == [[], [], []]
    assert table[0]["image"].size == (32, 32)


def test_of_a_folder_with_splits_only_train_is_taken(tmp_path, caplog):
    write_imagefolder(tmp_path, {"train": 3, "validation": 2, "test": 1})
    with caplog.at_level(logging.INFO):
        names = picture_table(tmp_path)["file_name"][:]
    assert names == [f"train/scene0{number}.png" for number in range(3)]
    assert "3 pictures of other splits than train left out" in caplog.text


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_that_is_missing_or_empty_is_named(place, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataLayoutError, match=place):
        picture_table(tmp_path / place)


def test_partners_have_equal_names_whatever_their_order_and_ending(tmp_path):
    write_pictures(tmp_path / "rgb" / "north", ["a.png", "b.png"])
    write_pictures(tmp_path / "grey" / "north", ["b.bmp", "a.bmp"])
    first, second = paired_tables(tmp_path / "rgb", tmp_path / "grey")
    assert first["file_name"][:] == ["north/a.png", "north/b.png"]
    assert second["file_name"][:] == ["north/a.bmp", "north/b.bmp"]
    # b.bmp was drawn first: it shows what a.png shows.
    pixels = [np.asarray(read_image(row["image"])) for row in (first[0], second[1])]
    assert np.array_equal(*pixels)


def test_pictures_without_a_partner_are_named_by_folder_and_may_be_left_out(tmp_path, caplog):
    write_pictures(tmp_path / "rgb", ["a.png", "b.png", "c.png"])
    write_pictures(tmp_path / "radar", ["b.png", "d.png"])
    with pytest.raises(DataLayoutError) as caught:
        paired_tables(tmp_path / "rgb", tmp_path / "radar")
    said = str(caught.value)
    assert f"2 of {tmp_path / 'rgb'} (a.png, c.png)" in said
    assert f"1 of {tmp_path / 'radar'} (d.png)" in said
    assert "1 pairs fit" in said and "--allow_missing true" in said
    first, second = paired_tables(tmp_path / "rgb", tmp_path / "radar", allow_missing=True)
    assert first["file_name"][:] == second["file_name"][:] == ["b.png"]
    assert "(a.png, c.png)" in caplog.text


def test_folders_that_share_no_name_are_refused_without_a_way_around(tmp_path):
    write_pictures(tmp_path / "rgb", ["a.png"])
    write_pictures(tmp_path / "radar", ["tile_a.png"])
    for allowed in (False, True):
        with pytest.raises(DataLayoutError, match=r"a\.png.*tile_a\.png.*0 pairs") as caught:
            paired_tables(tmp_path / "rgb", tmp_path / "radar", allow_missing=allowed)
        assert "allow_missing" not in str(caught.value)


def test_two_pictures_of_one_name_are_refused(tmp_path):
    write_pictures(tmp_path / "rgb", ["a.png", "a.bmp"])
    write_pictures(tmp_path / "radar", ["a.png"])
    with pytest.raises(DataLayoutError, match=r"rgb.* several pictures of one name: a\b"):
        paired_tables(tmp_path / "rgb", tmp_path / "radar")


def test_a_sensor_whose_pictures_differ_in_their_bands_is_refused(tmp_path):
    write_pictures(tmp_path / "rgb", ["a.png", "b.png", "c.png"])
    write_pictures(tmp_path / "pan", ["a.png", "b.png", "c.png"])
    grey = Image.open(tmp_path / "pan" / "b.png").convert("L")
    grey.save(tmp_path / "pan" / "b.png")
    with pytest.raises(DataLayoutError) as caught:
        paired_tables(tmp_path / "rgb", tmp_path / "pan")
    said = str(caught.value)
    assert str(tmp_path / "pan") in said
    assert "1 in 1 (b.png); 3 in 2 (a.png, c.png)" in said


@pytest.mark.parametrize(
    ("mode", "expected"), [("L", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)]
)
def test_bands_are_counted_without_alpha_and_a_palette_is_colours(mode, expected, tmp_path):
    Image.new("RGB", (8, 8), "red").convert(mode).save(tmp_path / "a.png")
    assert band_count(tmp_path / "a.png") == expected


@pytest.mark.parametrize("bands", [1, 2, 4, 12])
def test_bands_of_a_geotiff_are_counted(bands, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": bands, "dtype": "uint16"}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(np.ones((bands, 8, 8), np.uint16))
    assert band_count(tmp_path / "a.tif") == bands
    (tmp_path / "b.tif").write_bytes(b"II*\x00 damaged")
    assert band_count(tmp_path / "b.tif") is None
