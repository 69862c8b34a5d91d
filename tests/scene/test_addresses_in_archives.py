"""An index of rasters that are named one by one, or lie on a server."""

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.scene import index_rasters
from rsctir_hf.search.gallery import PictureGallery
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.search.stored import open_stored
from tests.geo.range_server import served
from tests.geo.rasters import write
from tests.scene.conftest import FIELD, fields

__all__ = ["served"]  # a fixture
CUT = {"tile": FIELD, "overlap": 0}


@pytest.fixture
def town(tmp_path):
    return write(tmp_path / "a town.tif", fields())


@pytest.mark.parametrize("kept", [False, True])
def test_a_raster_on_a_server_is_indexed_found_and_read_again(
    retriever, served, town, tmp_path, kept
):
    address = f"{served}/a%20town.tif?key=1"
    where = {"embeddings": tmp_path / "kept"} if kept else {}
    report = index_rasters(retriever, address, **where, **CUT)
    assert (report.rasters, report.tiles, report.skipped) == (1, 30, ())
    piece = Image.fromarray(np.moveaxis(fields()[:, :FIELD, FIELD : 2 * FIELD], 0, 2))
    retriever.save(tmp_path / "index")
    again = Retriever(retriever.encoder, index=open_stored(tmp_path / "index"))
    for one in (retriever, again):
        best = one.search(image=piece, top_k=1)[0]
        assert best.score == pytest.approx(1, abs=1e-5)
        assert best.path.startswith(f"{address}#window=32,0,32,32")
        assert best.metadata["raster"] == "a%20town.tif"
        assert np.array_equal(PictureGallery(one.engine).read(best.item), piece)


def test_rasters_may_be_listed_in_a_call_or_in_a_file(retriever, served, town, tmp_path):
    other = write(tmp_path / "b.tif", fields(seed=1))
    named = [other, f"{served}/a%20town.tif"]
    assert index_rasters(retriever, named, **CUT).tiles == 60
    (tmp_path / "list.txt").write_text("".join(f"{each}\n" for each in named))
    listed = retriever.with_empty_gallery()
    assert index_rasters(listed, tmp_path / "list.txt", **CUT).tiles == 60
    alone = retriever.with_empty_gallery()
    assert index_rasters(alone, other, **CUT).rasters == 1


def test_one_that_cannot_be_fetched_does_not_end_the_others(retriever, served, town):
    report = index_rasters(retriever, [town, f"{served}/none.tif"], **CUT)
    assert report.tiles == 30
    assert "cannot be fetched" in report.skipped[0].reason


def test_a_nodata_value_goes_along(retriever, tmp_path):
    values = fields().astype(np.uint16) * 9
    values[:, :, : 3 * FIELD] = 7
    (tmp_path / "all").mkdir()
    write(tmp_path / "all" / "a.tif", values)
    report = index_rasters(retriever, tmp_path / "all", nodata=7.0, **CUT)
    assert report.tiles == 15
    assert all("&nodata=7.0" in hit.path for hit in retriever.search("a river", top_k=15))
