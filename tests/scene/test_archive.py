"""A folder of rasters as one index: tiles with their places, searched like any gallery."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from rsctir_hf.embedding.dataset_rows import load_embeddings
from rsctir_hf.errors import DataLayoutError, RasterError
from rsctir_hf.files import listing
from rsctir_hf.geo.addresses import TileAddress, read_tile, read_tile_address
from rsctir_hf.geo.tiling import Window
from rsctir_hf.scene import SceneIndex, archive, hits_geojson, index_rasters
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.vector_index.contract import BoundingBox, SearchFilter
from rsctir_hf.vector_index.opening import open_index
from tests.geo.rasters import TURNED, write
from tests.scene.conftest import BANK, CUT, FIELD, fields


def no_data(tile):
    raise RasterError(f"{tile} holds no data")


def test_every_tile_is_an_item_with_its_place(retriever, folder):
    told = []
    report = index_rasters(
        retriever, folder, progress=lambda *at: told.append(at), batch_size=5, **CUT
    )
    assert (report.rasters, report.tiles, len(retriever)) == (2, 14, 14)
    assert {skip.path.rsplit("/", 1)[-1] for skip in report.skipped} == {"blank.tif", "broken.tif"}
    assert told[-1] == (18, 18)  # 8 + 6 tiles, and 4 windows of the blank raster
    hit = retriever.search("a river", top_k=1)[0]
    tile = read_tile_address(hit.path)
    assert hit.metadata["raster"] in ("south.tif", "far.tif")
    window = [hit.metadata[name] for name in ("column", "row", "width", "height")]
    assert window == [tile.window.col, tile.window.row, tile.window.width, tile.window.height]
    assert hit.box.min_x < hit.box.max_x


def test_a_bounding_box_finds_the_tiles_of_one_place(retriever, folder):
    index_rasters(retriever, folder, **CUT)
    north = SearchFilter(box=BoundingBox(7, 54, 8, 55))
    hits = retriever.search("a river", top_k=20, only=north)
    assert len(hits) == 8
    assert {hit.metadata["raster"] for hit in hits} == {"far.tif"}


def test_tiles_are_marked_and_found_like_pictures(retriever, folder, scene_file):
    index_rasters(retriever, folder, **CUT)
    scene = SceneIndex.build(retriever, scene_file, **CUT)
    for tiles, count in ((retriever, 14), (scene.tiles, 30)):
        good, bad, *_ = tiles.search("a river", top_k=3)
        concept = tiles.concepts.learn("a river", good=[good.path], bad=[bad.item])
        hits = tiles.concepts.find(concept, top_k=40)
        assert len(hits) == count - 2 and not {good.path, bad.path} & {hit.path for hit in hits}
        expected = tiles.engine.vectors_of([hit.item for hit in hits]) @ concept.direction
        assert [hit.score for hit in hits] == pytest.approx(expected.tolist(), abs=1e-6)
        assert len({hit.path for hit in hits}) == len(hits)
        assert tiles.concepts.find(concept, top_k=1, marked="first")[0].path == good.path


def test_windows_that_overlap_are_folded_for_marks_too(retriever, folder):
    index_rasters(retriever, folder, tile=FIELD, overlap=0.5)
    concept = retriever.concepts.learn("a river")
    whole = retriever.folding("none").concepts.find(concept, top_k=100)
    places = retriever.concepts.find(concept, top_k=100)
    assert len(whole) == len(retriever) > len(places) > 1
    assert sum(hit.merged for hit in places) >= len(retriever)
    assert places[0].path == whole[0].path and places[0].merged > 1


def test_a_raster_over_the_antimeridian_is_indexed_on_both_sides(retriever, folder, tmp_path):
    # 3 windows of 32 px and 0.00001 degrees; the second reaches from 179.9999 to -179.99978
    across = rasterio.Affine(1e-5, 0, 180 - 42e-5, 0, -1e-5, 10)
    write(folder / "far_east.tif", fields(3, 1, seed=2), crs="EPSG:4326", transform=across)
    for kept in (None, tmp_path / "kept"):
        archived = Retriever(retriever.encoder)
        index_rasters(archived, folder, embeddings=kept, **CUT)
        assert len(archived) == 17
        for box, columns in (((179, 9, 180, 11), {0}), ((-180, 9, -179, 11), {32, 64})):
            only = SearchFilter({"raster": "far_east.tif"}, BoundingBox(*box))
            hits = archived.search("a river", top_k=20, only=only)
            assert {hit.metadata["column"] for hit in hits} == columns


def test_what_is_kept_is_not_read_again_and_gives_the_same_answers(
    retriever, folder, tmp_path, monkeypatch
):
    index_rasters(retriever, folder, **CUT)
    expected = [(hit.path, hit.score) for hit in retriever.search("a river", top_k=14)]
    for file in folder.rglob("*.tif"):
        os.utime(file, (1e9, 1e9))
    monkeypatch.setattr(listing, "SETTLED_AFTER", -1)
    first = Retriever(retriever.encoder)
    report = index_rasters(first, folder, embeddings=tmp_path / "kept", **CUT)
    assert (report.rasters, report.tiles) == (2, 14)
    assert any("blank.tif: 4 of 4 tiles left out" in skip.reason for skip in report.skipped)
    found = {hit.path: hit.score for hit in first.search("a river", top_k=14)}
    assert found == pytest.approx(dict(expected))
    read = []
    monkeypatch.setattr(archive, "read_tile", lambda tile, **_: read.append(tile) or no_data(tile))
    second = Retriever(retriever.encoder)
    index_rasters(second, folder, embeddings=tmp_path / "kept", **CUT)
    assert len(second) == 14
    assert {tile.path.rsplit("/", 1)[-1] for tile in read} == {"blank.tif"}


def test_kept_vectors_know_the_place_of_their_tile(retriever, folder, tmp_path):
    index_rasters(retriever, folder, embeddings=tmp_path / "kept", **CUT)
    rows = load_embeddings(tmp_path / "kept")
    assert {"raster", "column", "row", "width", "height", "west", "north"} <= set(rows.column_names)
    assert all(row["id"].startswith(("south.tif#", "north/far.tif#")) for row in rows)
    assert all(row["west"] < row["east"] for row in rows)


def test_the_tiles_of_a_raster_that_is_gone_are_known(retriever, folder):
    index_rasters(retriever, folder, **CUT)
    (folder / "south.tif").unlink()
    gone = retriever.gone(folder)
    assert {item.metadata["raster"] for item in retriever._gallery.items_of(gone)} == {"south.tif"}
    assert len(gone) == 6


def test_indexing_again_replaces_instead_of_adding(retriever, folder):
    index_rasters(retriever, folder, **CUT)
    index_rasters(retriever, folder, **CUT)
    assert len(retriever) == 14


def test_a_saved_index_reads_its_tiles_after_the_rasters_moved(
    retriever, folder, tmp_path, tiny_encoder
):
    index_rasters(retriever, folder, **CUT)
    retriever.save(tmp_path / "index")
    folder.rename(tmp_path / "moved")
    index = open_index(tmp_path / "index")
    other = Retriever(tiny_encoder, bank=BANK, index=index, images=tmp_path / "moved")
    hit = other.search("a river", top_k=1)[0]
    tile = other._gallery.read(hit.item)
    with rasterio.open(read_tile_address(hit.path).path) as source:
        values = source.read(
            window=rasterio.windows.Window(*(hit.metadata[n] for n in ("column", "row")), 32, 32)
        )
    assert np.array_equal(np.asarray(tile), np.moveaxis(values, 0, 2))


def test_a_raster_that_is_a_link_out_of_the_folder_is_passed_over(
    retriever, folder, tmp_path, caplog
):
    (folder / "south.tif").rename(tmp_path / "elsewhere.tif")
    (folder / "linked.tif").symlink_to(tmp_path / "elsewhere.tif")
    index_rasters(retriever, folder, embeddings=tmp_path / "vectors", **CUT)
    assert {item.path.partition("#")[0] for item in retriever.items} == {
        str(folder / "north" / "far.tif")
    }
    assert "1 links" in caplog.text


def vrt(path, size, *bands):
    """A VRT over the first band of files beside it, a band each, or over all bands of one file."""
    entries = "".join(
        f'<VRTRasterBand dataType="Byte" band="{number}"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{file}</SourceFilename><SourceBand>{source}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for number, (file, source) in enumerate(bands, start=1)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{size[0]}" rasterYSize="{size[1]}">{entries}</VRTDataset>'
    )
    return path


def of_one_file(file):
    return [(file, band) for band in (1, 2, 3)]


def overviews(file):
    with rasterio.Env(TIFF_USE_OVR="YES"), rasterio.open(file, "r+") as target:
        target.build_overviews([2])
    with rasterio.open(f"{file}.ovr", "r+") as target:
        target.write(fields(3, 2, seed=8)[:, ::2, ::2])


def mask(file):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(file, "r+") as target:
        target.write_mask(np.pad(np.full((64, 64), 255, np.uint8), ((0, 0), (32, 0))))


def nodata(file):
    bands = "".join(
        f'<PAMRasterBand band="{number}"><NoDataValue>9</NoDataValue></PAMRasterBand>'
        for number in (1, 2, 3)
    )
    Path(f"{file}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")


def other_pixels(file):
    write(file, fields(3, 2, seed=7))


CHANGES = {
    "the file": ("a.tif", other_pixels),
    "a mask": ("a.tif", mask),
    "nodata": ("a.tif", nodata),
    "overviews": ("a.tif", overviews),
    "behind a VRT": ("far.vrt", other_pixels),
    "behind a VRT of a VRT": ("farther.vrt", other_pixels),
}


@pytest.mark.parametrize(("shown", "change"), CHANGES.values(), ids=CHANGES)
def test_what_changed_behind_a_raster_is_embedded_anew(
    retriever, tmp_path, monkeypatch, shown, change
):
    monkeypatch.setattr(listing, "SETTLED_AFTER", -1)
    folder, away = tmp_path / "rasters", tmp_path / "away"
    folder.mkdir()
    away.mkdir()
    pixels = fields(3, 2)
    pixels[:, :32, :32] = 9
    file = write((folder if shown == "a.tif" else away) / "a.tif", pixels)
    vrt(folder / "far.vrt", (96, 64), *of_one_file("../away/a.tif"))
    vrt(folder / "farther.vrt", (96, 64), *of_one_file("far.vrt"))
    for other in {"far.vrt", "farther.vrt"} - {shown}:
        (folder / other).rename(away / other)
    if shown == "farther.vrt":
        text = (folder / shown).read_text()
        (folder / shown).write_text(text.replace("far.vrt", "../away/far.vrt"))
    cut = {**CUT, "least_valid": 0.9}
    if change is overviews:  # only what is shown smaller is read from them
        monkeypatch.setattr(retriever.encoder.config, "training_gsd", [0.6, 0.6], raising=False)
    vectors = []
    for embeddings in (tmp_path / "kept", tmp_path / "kept", None):
        archived = Retriever(retriever.encoder)
        index_rasters(archived, folder, embeddings=embeddings, **cut)
        vectors.append(archived.engine.vectors_of(archived.engine.ids()))
        if len(vectors) == 1:
            change(file)
    assert vectors[1].shape == vectors[2].shape
    assert np.allclose(vectors[1], vectors[2], atol=1e-5)
    assert vectors[0].shape != vectors[1].shape or not np.allclose(vectors[0], vectors[1])


def test_a_tile_is_stretched_as_its_raster_is_now(tmp_path):
    """A gap that a mask or a nodata value tells of no longer counts in the stretch."""
    values = fields(3, 2).astype(np.uint16) * 10
    values[:, :32, :32] = 60_000
    file = write(tmp_path / "a.tif", values)
    shown = vrt(tmp_path / "b.vrt", (96, 64), *of_one_file("a.tif"))
    shown.write_text(shown.read_text().replace("Byte", "UInt16"))
    before = {}
    for path in (file, shown):
        before[path] = np.asarray(read_tile(TileAddress(str(path), Window(32, 0, 32, 32), (8, 8))))
    mask(file)
    values[:, :32, :32] = 700
    for path in (file, shown):
        if path == shown:
            write(file, values)
        now = np.asarray(read_tile(TileAddress(str(path), Window(32, 0, 32, 32), (8, 8))))
        assert now.max() > before[path].max() + 50


def test_further_names_of_a_raster_are_passed_over(retriever, folder, tmp_path):
    (folder / "a_link.tif").symlink_to("south.tif")
    os.link(folder / "south.tif", folder / "z_hard_link.tif")
    report = index_rasters(retriever, folder, embeddings=tmp_path / "kept", **CUT)
    assert (report.rasters, report.tiles) == (2, 14)
    said = [skip.reason for skip in report.skipped if "another name of" in skip.reason]
    assert len(said) == 2
    assert all(f"{folder / 'south.tif'}, which is indexed" in reason for reason in said)


def test_of_a_vrt_beside_its_source_the_source_is_indexed(retriever, folder):
    vrt(folder / "all.vrt", (96, 64), *of_one_file("south.tif"))
    vrt(folder / "outer.vrt", (96, 64), *of_one_file("all.vrt"))
    report = index_rasters(retriever, folder, **CUT)
    assert {item.metadata["raster"] for item in retriever.items} == {"south.tif", "far.tif"}
    assert sum("indexed instead" in skip.reason for skip in report.skipped) == 2


def test_a_vrt_of_what_lies_elsewhere_too_is_indexed(retriever, folder, tmp_path):
    write(tmp_path / "elsewhere.tif", fields(3, 2, seed=3))
    vrt(folder / "mix.vrt", (96, 64), ("south.tif", 1), ("south.tif", 2), ("../elsewhere.tif", 1))
    index_rasters(retriever, folder, **CUT)
    assert {item.metadata["raster"] for item in retriever.items} >= {"south.tif", "mix.vrt"}


def test_of_single_bands_and_the_vrt_that_joins_them_the_vrt_is_indexed(retriever, tmp_path):
    for number, band in enumerate(fields(3, 2)):
        write(tmp_path / f"B{number}.tif", band[None])
    vrt(tmp_path / "colour.vrt", (96, 64), *((f"B{number}.tif", 1) for number in range(3)))
    report = index_rasters(retriever, tmp_path, **CUT)
    assert (report.rasters, report.tiles) == (1, 6)
    assert {item.metadata["raster"] for item in retriever.items} == {"colour.vrt"}
    assert sum("is a band of colour.vrt" in skip.reason for skip in report.skipped) == 3


@pytest.mark.parametrize("kept", [False, True])
def test_names_that_are_no_utf_8(retriever, folder, tmp_path, kept):
    latin_1 = os.fsdecode(b"caf\xe9")
    (folder / "south.tif").rename(folder / f"{latin_1}.tif")
    (folder / "north").rename(folder / latin_1)
    vrt(folder / latin_1 / "beside.vrt", (128, 64), *of_one_file("far.tif"))
    kept_in = tmp_path / latin_1 if kept else None
    report = index_rasters(retriever, folder, embeddings=kept_in, **CUT)
    assert report.tiles == 14
    retriever.save(tmp_path / "index")
    found = Retriever(retriever.encoder, index=open_index(tmp_path / "index"))
    hits = found.search("a river", top_k=30)
    assert {hit.path.encode().decode().partition("#")[0] for hit in hits} >= {
        rf"{folder}/caf\xe9.tif",
        rf"{folder}/caf\xe9/far.tif",
    }
    assert {"caf\\xe9.tif"} < {hit.metadata["raster"] for hit in hits}
    assert all(found._gallery.read(hit.item).size == (FIELD, FIELD) for hit in hits)


def test_the_mask_beside_a_raster_with_such_a_name_counts(retriever, tmp_path):
    plain = write(tmp_path / "plain.tif", fields(3, 2))
    mask(plain)
    odd = tmp_path / os.fsdecode(b"caf\xe9.tif")
    plain.rename(odd)
    os.rename(f"{plain}.msk", f"{odd}.msk")
    assert index_rasters(retriever, tmp_path, **CUT).tiles == 4


def test_a_raster_of_one_row_is_refused_for_that(retriever, folder):
    write(folder / "row.tif", np.full((3, 1, 500), 7, np.uint8), crs=None)
    report = index_rasters(retriever, folder, **CUT)
    (said,) = (skip.reason for skip in report.skipped if "row.tif" in skip.path)
    assert "500 x 1 pixels" in said
    assert "at least 4 pixels a side" in said


@pytest.mark.parametrize("rerank", ["none", "smr", "mr"])
@pytest.mark.parametrize("engine", ["exact", "hnsw"])
def test_overlapping_windows_are_folded_as_in_a_scene(retriever, tmp_path, rerank, engine):
    file = write(tmp_path / "scene.tif", fields(6, 5), transform=TURNED)
    cut = {"tile": FIELD, "overlap": 0.5}
    answer = SceneIndex.build(retriever, file, **cut).search(text="a river", top_k=4, rerank=rerank)
    archived = Retriever(retriever.encoder, bank=BANK, index=open_index(engine))
    index_rasters(archived, tmp_path, **cut)
    hits = archived.search("a river", top_k=4, rerank=rerank)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [read_tile_address(hit.path).window for hit in hits] == [
        hit.window for hit in answer.hits
    ]
    assert [hit.merged for hit in hits] == [hit.merged for hit in answer.hits]
    assert max(hit.merged for hit in hits) > 3
    expected = answer.to_geojson()["features"]
    for found, feature in zip(
        hits_geojson(hits, text="a river")["features"], expected, strict=True
    ):
        assert found["geometry"] == feature["geometry"]
        same = (
            found["properties"].items()
            & {
                name: value for name, value in feature["properties"].items() if name != "pixels"
            }.items()
        )
        assert {"rank", "file", "windows", "text"} <= {name for name, _ in same}
        assert found["properties"]["pixels"] == feature["properties"]["pixels"]


def test_windows_of_two_rasters_are_not_folded(retriever, tmp_path):
    for name in ("2023.tif", "2024.tif"):
        write(tmp_path / name, fields(1, 1))
    index_rasters(retriever, tmp_path, **CUT)
    assert len(retriever.search("a river", top_k=5)) == 2


def test_a_window_over_the_antimeridian_is_two_polygons(retriever, tmp_path):
    across = rasterio.Affine(1e-5, 0, 180 - 16e-5, 0, -1e-5, 10)
    write(tmp_path / "a.tif", fields(1, 1), crs="EPSG:4326", transform=across)
    index_rasters(retriever, tmp_path, **CUT)
    (feature,) = hits_geojson(retriever.search("a river"))["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"


def test_a_hit_without_a_place_has_no_geometry(retriever, tmp_path):
    write(tmp_path / "a.tif", fields(1, 1), crs=None)
    index_rasters(retriever, tmp_path, **CUT)
    (feature,) = hits_geojson(retriever.search("a river"))["features"]
    assert feature["geometry"] is None
    assert feature["properties"]["pixels"] == [0, 0, 32, 32]


def test_the_command_line_writes_hits_as_geojson(rsctir, clip_folder, folder, tmp_path):
    index, output = tmp_path / "index", tmp_path / "hits.geojson"
    rsctir("index", "--model", clip_folder, "--rasters", folder, "--output", index, "--tile", FIELD)
    asked = ("search", "--index", index, "--text", "a river", "--output", output)
    code, _, err = rsctir(*asked, "--top-k", 3)
    assert code == 0, err
    found = json.loads(output.read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["rank"] for feature in found] == [1, 2, 3]
    assert {feature["geometry"]["type"] for feature in found} == {"Polygon"}
    code, _, err = rsctir(*asked[:-1], tmp_path)
    assert code == 2
    assert "is a folder" in err


def test_a_folder_without_rasters_is_refused(retriever, tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataLayoutError, match=r"no folder with rasters|does not exist"):
            index_rasters(retriever, folder)


def test_the_command_line_indexes_and_searches_rasters(rsctir, clip_folder, folder, tmp_path):
    index = tmp_path / "index"
    code, out, err = rsctir(
        "index", "--model", clip_folder, "--rasters", folder, "--index", index, "--tile", FIELD,
        "--overlap", 0,
    )  # fmt: skip
    assert code == 0, err
    assert "14 tiles of 2 rasters indexed, 2 skipped" in out
    assert "broken.tif" in err
    code, out, err = rsctir("search", "--index", index, "--text", "a river", "--top-k", 2)
    assert code == 0, err
    assert ".tif#window=" in out
    code, out, _ = rsctir(
        "search", "--index", index, "--text", "a river", "--json", "--bbox", "7,54,8,55"
    )
    found = json.loads(out)["hits"]
    assert {hit["metadata"]["raster"] for hit in found} == {"far.tif"}
    assert all(54 < hit["box"]["min_y"] < 55 for hit in found)


def test_either_pictures_or_rasters_are_indexed(rsctir, clip_folder, tmp_path):
    code, _, err = rsctir("index", "--model", clip_folder, "--index", tmp_path / "index")
    assert code == 2
    assert "Give one of --images and --rasters" in err


def test_tiles_say_when_and_with_what_their_raster_was_taken(retriever, tmp_path):
    write(tmp_path / "a.tif", fields(1, 1))
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.update_tags(TIFFTAG_DATETIME="2024:05:31 10:30:00")
        file.update_tags(ns="IMAGERY", SATELLITEID="WV03")
    index_rasters(retriever, tmp_path, **CUT)
    (hit,) = retriever.search("a river")
    assert (hit.metadata["date"], hit.metadata["sensor"]) == ("2024-05-31T10:30:00", "WV03")
    (feature,) = hits_geojson([hit])["features"]
    assert feature["properties"]["sensor"] == "WV03" and "outline" not in feature["properties"]
    assert "column" not in feature["properties"]
