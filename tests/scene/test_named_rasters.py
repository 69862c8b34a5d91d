"""What a user names to be indexed: rasters, folders and lists of them, and options for all."""

import os
import shutil
from pathlib import Path

import pytest

from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.scene import index_rasters
from rsctir_hf.scene.archive import rasters_of
from tests.scene.conftest import CUT


def listed(file, *lines):
    file.write_bytes(b"\n".join(map(os.fsencode, lines)))
    return file


def test_a_list_of_rasters_is_read_as_people_write_it(retriever, folder, tmp_path):
    far = folder / "north" / "far.tif"
    shutil.copy(far, os.fsencode(folder) + b"/caf\xe9.tif")
    lines = ("\ufeff# mine\r", "south.tif\r", f'"{far}"', folder / "gone.tif", "", "list.txt")
    file = listed(folder / "list.txt", *lines)
    report = index_rasters(retriever, file, **CUT)
    assert report.rasters == 2
    assert {Path(each.path).name for each in report.skipped} == {"gone.tif", "list.txt"}
    other = listed(folder / "other.txt", b"caf\xe9.tif")
    assert index_rasters(retriever, other, **CUT).rasters == 1
    with pytest.raises(DataLayoutError, match="names no raster"):
        rasters_of(listed(tmp_path / "none.txt", "# nothing"))


def test_a_raster_that_is_not_there_is_called_so(tmp_path):
    with pytest.raises(DataLayoutError, match=r"b\.tif does not exist"):
        rasters_of(tmp_path / "b.tif")


def test_imagery_that_is_no_raster_by_its_suffix_has_a_line(folder, caplog):
    for name in ("map.png", "map.pgw", "quick.png"):
        (folder / name).touch()
    assert not any(file.endswith(".png") for file in rasters_of(folder))
    assert "2 files of imagery that is not read as rasters" in caplog.text
    assert "(2 .png)" in caplog.text


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"overlap": 1.0}, {"gsd": 0.0}])
def test_options_that_fit_no_raster_are_refused_once(retriever, folder, wrong):
    with pytest.raises(QueryError):
        index_rasters(retriever, folder, **{**CUT, **wrong})
