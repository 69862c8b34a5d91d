"""``rsctir scene`` from end to end, in this process."""

import json
import os
from pathlib import Path

import pytest
import rasterio

from tests.geo.rasters import write
from tests.scene.conftest import BANK, FIELD, fields


@pytest.fixture
def options(clip_folder, scene_file, tmp_path):
    bank = tmp_path / "bank.txt"
    bank.write_text("\n".join(BANK))
    return [
        *("scene", "--model", clip_folder, "--raster", scene_file, "--tile", FIELD),
        *("--output", tmp_path / "out" / "hits.geojson", "--bank", bank),
    ]


def test_hits_are_printed_and_written_with_a_heat_map(rsctir, options, tmp_path):
    heat = tmp_path / "out" / "heat.tif"
    code, out, err = rsctir(
        *options, "--text", "a river", "--top-k", 3, "--heatmap", heat, "--rerank", "smr"
    )
    assert code == 0, err
    lines = out.splitlines()
    assert len(lines) == 4
    assert "3 hits in" in lines[-1]
    hits = json.loads((tmp_path / "out" / "hits.geojson").read_text())["features"]
    assert [hit["properties"]["rank"] for hit in hits] == [1, 2, 3]
    with rasterio.open(heat) as written:
        assert written.crs == "EPSG:32632"
    assert sorted(file.name for file in heat.parent.iterdir()) == ["heat.tif", "hits.geojson"]


def test_things_are_outlined_in_the_place_of_tiles(rsctir, options):
    code, out, err = rsctir(*options, "--text", "a river", "--top-k", 2, "--things", "--json")
    assert code == 0, err
    assert all(feature["properties"]["thing"] for feature in json.loads(out)["features"])


def test_json_prints_the_features(rsctir, options):
    code, out, _ = rsctir(*options, "--text", "a river", "--top-k", 2, "--json")
    assert code == 0
    assert len(json.loads(out)["features"]) == 2


def test_a_picture_asks_too_and_warnings_reach_the_user(rsctir, options, picture_folder, tmp_path):
    file = write(tmp_path / "b.tif", fields(), crs=None, transform=rasterio.Affine.identity())
    options[options.index("--raster") + 1] = file
    code, out, err = rsctir(*options, "--image", picture_folder / "red.png", "--bands", "3,2,1")
    assert code == 0, err
    assert "note: This raster has no coordinates" in err
    assert "pixels (" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "There is no query"),
        (["--text", "a river", "--bands", "red"], "numbers with commas"),
        (["--text", "a river", "--bands", "9"], "expected one or three from 1 to 3"),
        (["--text", "a river", "--gsd", "-1"], "metres a pixel above 0"),
        (["--text", "a river", "--overlap", "1"], "below 1"),
    ],
)
def test_options_without_sense_are_one_line_and_leave_nothing(
    rsctir, options, tmp_path, more, message
):
    code, _, err = rsctir(*options, *more)
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--output", "--heatmap"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "is a folder"),
        ("bank.txt/hits", "bank.txt is a file"),
        ("new/hits", "may not be written to"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_model_is_loaded(
    rsctir, options, tmp_path, monkeypatch, option, place, message
):
    monkeypatch.setattr(os, "access", lambda path, how: how == os.R_OK or path != tmp_path)
    (tmp_path / "out").mkdir()
    options[options.index("--model") + 1] = tmp_path / "no-model"
    code, _, err = rsctir(*options, "--text", "a river", option, tmp_path / place)
    assert code == 2
    assert f"{option} {tmp_path}" in err and message in err
    assert not (tmp_path / "new").exists()


def test_bands_are_read_before_the_model_is_loaded(rsctir, options, tmp_path):
    options[options.index("--model") + 1] = tmp_path / "no-model"
    code, _, err = rsctir(*options, "--text", "a river", "--bands", "1.5")
    assert code == 2
    assert "'1.5'; expected one or three numbers" in err


@pytest.mark.parametrize("written", ["raster", "output"])
def test_no_file_of_the_command_is_written_over(rsctir, options, written):
    file = options[options.index(f"--{written}") + 1]
    before = file.read_bytes() if file.exists() else None
    code, _, err = rsctir(*options, "--text", "a river", "--heatmap", file)
    assert code == 2
    assert "--heatmap" in err and "written over" in err
    assert (file.read_bytes() if file.exists() else None) == before


def test_a_file_that_is_no_raster_is_one_line(rsctir, options, tmp_path):
    options[options.index("--raster") + 1] = tmp_path / "bank.txt"
    code, _, err = rsctir(*options, "--text", "a river")
    assert code == 2
    assert "error: bank.txt is not a raster" in err


def test_what_is_no_data_and_where_it_lies_can_be_said(rsctir, options, tmp_path):
    values = fields().astype("uint16") * 9
    values[:, :, : 3 * FIELD] = 7
    file = write(tmp_path / "b.tif", values, crs=None)
    options[options.index("--raster") + 1] = f"file://{file}"
    code, out, err = rsctir(*options, "--text", "a river")
    assert code == 0 and "in which reference system" in err
    assert "x 5000" in out  # the middle in metres of a grid that nobody named
    feature = json.loads((tmp_path / "out" / "hits.geojson").read_text())["features"][0]
    left, top, *_ = feature["properties"]["pixels"]
    assert feature["geometry"] is None
    assert feature["properties"]["corners"][0] == [5e5 + 0.3 * left, 5e6 - 0.3 * top]
    code, out, err = rsctir(
        *options, "--text", "a river", "--nodata", "7", "--crs", "EPSG:32632", "--overlap", "0"
    )
    assert code == 0, err
    assert "15 tiles searched, 15 without data left out. Bands 1, 2, 3 are shown as red" in out
    feature = json.loads((tmp_path / "out" / "hits.geojson").read_text())["features"][0]
    assert feature["geometry"]["type"] == "Polygon"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--nodata", "sea"], "'sea'; expected a number"),
        (["--crs", "nowhere"], "'nowhere', which PROJ does not know"),
        (["--raster", "http://127.0.0.1:9/a.tif"], "http://127.0.0.1:9/a.tif cannot be fetched"),
    ],
)
def test_what_cannot_be_read_so_is_one_line(rsctir, options, more, message):
    code, _, err = rsctir(*options, "--text", "a river", *more)
    assert code == 2
    assert message in err and "Traceback" not in err


def test_a_raster_of_one_row_is_refused_for_that(rsctir, options, tmp_path):
    options[options.index("--raster") + 1] = write(tmp_path / "row.tif", fields()[:, :1])
    code, _, err = rsctir(*options, "--text", "a river")
    assert code == 2
    assert "192 x 1 pixels" in err and "at least 4 pixels a side" in err


def test_hits_are_not_written_over_the_raster_however_it_is_named(rsctir, options, scene_file):
    before = Path(scene_file).read_bytes()
    options[options.index("--raster") + 1] = f"file://{scene_file}"
    code, _, err = rsctir(*options, "--text", "a river", "--output", scene_file)
    assert code == 2 and "would be written over" in err
    assert Path(scene_file).read_bytes() == before
