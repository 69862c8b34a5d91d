"""Rasters that are read from other files: which ones, and what if one is gone."""

import pytest
import rasterio

from rsctir_hf.errors import RasterError
from rsctir_hf.geo.raster import open_raster
from tests.geo.rasters import picture, write


def vrt_over(file, source, size=(300, 260)):
    """Write a VRT of one band that names another file, and return its path."""
    file.write_text(
        f'<VRTDataset rasterXSize="{size[0]}" rasterYSize="{size[1]}">'
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{source}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return file


def test_every_file_that_a_raster_is_read_from_is_known(tmp_path):
    write(tmp_path / "a.tif", picture(bands=1))
    vrt_over(tmp_path / "a.vrt", "a.tif")
    outer = vrt_over(tmp_path / "b.vrt", "a.vrt")
    assert open_raster(outer).files == tuple(
        str(tmp_path / name) for name in ("a.tif", "a.vrt", "b.vrt")
    )
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(tmp_path / "a.tif", "r+") as target:
        target.build_overviews([2])
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert {name.rsplit("/", 1)[1] for name in open_raster(outer).files} == {
        *("a.tif", "a.tif.ovr", "a.tif.aux.xml", "a.vrt", "b.vrt"),
    }


def test_a_vrt_over_files_that_are_gone_is_refused(tmp_path):
    """Read by several threads GDAL shows them black now and then."""
    write(tmp_path / "a.tif", picture(bands=1))
    vrt_over(tmp_path / "a.vrt", "a.tif")
    outer = vrt_over(tmp_path / "b.vrt", "a.vrt")
    (tmp_path / "a.tif").unlink()
    for file in (tmp_path / "a.vrt", outer):
        with pytest.raises(RasterError, match=r"not there: .*/a\.tif\. Put them back"):
            open_raster(file)
