"""Hits as files for other programs: each is read again by what reads such files."""

import csv
import io
import json
import re
import shutil
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rsctir_hf.collection.features import TakenHome, box_of, middle_of
from rsctir_hf.collection.table_files import well_known_binary
from rsctir_hf.collection.take_home import FORMATS, choose_format, take_home
from rsctir_hf.errors import OutputExistsError, QueryError, StorageError
from rsctir_hf.files.metadata import read_metadata
from tests.collection.conftest import hit
from tests.full_disk import full_disk

FILES = {
    "geojson": "hits.geojson", "csv": "hits.csv", "geoparquet": "hits.parquet",
    "html": "hits.html", "zip": "hits.zip", "json": "hits.json",
}  # fmt: skip


def rows_in(content):
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def read_wkb(data):
    """A slow reader of polygons in well-known binary: rings of points, polygon by polygon."""
    kind = int.from_bytes(data[1:5], "little")
    count, at = int.from_bytes(data[5:9], "little"), 9
    parts = []
    for _ in range(count):
        if kind == 6:
            part, size = read_wkb(data[at:])
            parts += part
        else:
            points = int.from_bytes(data[at : at + 4], "little")
            numbers = np.frombuffer(data, "<f8", 2 * points, at + 4)
            parts.append(numbers.reshape(-1, 2).tolist())
            size = 4 + 16 * points
        at += size
    return parts, at


def test_csv_has_a_row_for_each_hit_and_no_formulas(taken, tmp_path):
    notes = take_home(taken, tmp_path / "hits.csv")
    assert notes == [f"1 of 5 pictures are gone: {tmp_path}/pictures/gone.jpg."]
    rows = rows_in((tmp_path / "hits.csv").read_bytes())
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0]["query"] == "piers & <boats>" and rows[0]["cloudy"] == "false"
    assert (rows[0]["score"], rows[0]["metadata_score"]) == ("0.9", "bad")
    assert (rows[0]["longitude"], rows[0]["latitude"]) == ("8.85", "53.05")
    assert (rows[1]["longitude"], rows[1]["bounding_box"]) == ("180.0", "179.0,-10.0,-179.0,-9.0")
    assert rows[2]["caption"] == "'-1+cmd|' /C calc'!A0" and rows[2]["file"] == "'=1+1 <b>.png"
    assert (rows[2]["width"], rows[2]["longitude"]) == ("40", "")
    assert (rows[4]["pixels"], rows[4]["windows"]) == ("0,32,32,64", "3")
    assert not {"outline", "column", "rerank_score", "query_image"} & set(rows[0])


def test_geojson_is_that_of_the_hits(taken, tmp_path):
    notes = take_home(taken, tmp_path / "hits.geojson")
    assert notes[1] == "1 of 5 pictures have no place on earth: their geometry is null."
    whole = json.loads((tmp_path / "hits.geojson").read_text())
    assert whole["features"] == json.loads(json.dumps(taken.features))
    assert whole["confidence"] is None and whole["link"] == "?text=piers"


def test_geoparquet_says_what_its_columns_are(taken, tmp_path):
    take_home(taken, tmp_path / "hits.parquet")
    table = pq.read_table(tmp_path / "hits.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert geo["columns"]["geometry"] == {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"],
        "orientation": "counterclockwise",
    }
    rows = table.to_pylist()
    assert [type(rows[0][name]) for name in ("rank", "score", "cloudy", "gsd", "n")] == [
        int, float, bool, float, str,
    ]  # fmt: skip
    for row, feature in zip(rows, taken, strict=True):
        geometry = feature["geometry"]
        if geometry is None:
            assert row["geometry"] is None
            continue
        rings, size = read_wkb(row["geometry"])
        assert size == len(row["geometry"]) and rings[0][0] == rings[0][-1]
        polygons = geometry["coordinates"]
        assert rings == (
            polygons
            if geometry["type"] == "Polygon"
            else [ring for each in polygons for ring in each]
        )
    assert rows[1]["embedding"] == torch.eye(5, 8)[1].tolist()
    assert table.schema.field("embedding").type.list_size == 8


def test_geoparquet_opens_as_a_geodataframe(taken, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    take_home(taken, tmp_path / "hits.parquet")
    frame = geopandas.read_parquet(tmp_path / "hits.parquet")
    assert frame.crs.equals("OGC:CRS84") or frame.crs.to_epsg() == 4326
    assert frame.geometry[0].bounds == (8.8, 53.0, 8.9, 53.1)
    assert frame.geometry[1].geom_type == "MultiPolygon" and frame.geometry[1].is_valid
    assert frame.geometry[1].area == pytest.approx(2.0)
    assert frame.geometry[2] is None
    assert frame["caption"][0] == "a pier"
    found = (
        geopandas.read_file(tmp_path / "hits.geojson")
        if take_home(taken, tmp_path / "hits.geojson")
        else None
    )
    assert found.geometry[0].equals(frame.geometry[0])


def test_a_zip_holds_the_very_files_and_is_a_gallery_again(taken, tmp_path):
    take_home(taken, tmp_path / "hits.zip")
    with zipfile.ZipFile(tmp_path / "hits.zip") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        archive.extractall(tmp_path / "out")
        assert archive.getinfo(names[0]).compress_type == zipfile.ZIP_STORED
    assert names == [
        "0001_pier.jpg", "0002_pier.jpg", "0003_=1+1 _b_.png", "0005_town.png", "metadata.csv",
        "missing.csv",
    ]  # fmt: skip
    for name, kept in zip(("pier.jpg", "b/pier.jpg"), names, strict=False):
        original = (tmp_path / "pictures" / name).read_bytes()
        assert (tmp_path / "out" / kept).read_bytes() == original
    with Image.open(tmp_path / "out" / "0005_town.png") as tile:
        assert tile.size == (16, 16) and tile.getpixel((3, 3)) == (90, 90, 90)
    (gone,) = rows_in((tmp_path / "out" / "missing.csv").read_bytes())
    assert gone["rank"] == "4" and "gone.jpg is gone" in gone["missing"]
    read = read_metadata(tmp_path / "out")
    assert (read[0].caption, read[0].bounding_box) == ("a pier", (8.8, 53.0, 8.9, 53.1))
    assert read[0].metadata["date"] == "2024-05-01"
    assert read[1].captions is None  # the query is none
    assert [row.file_name for row in read] == names[:4]


def test_names_in_a_zip_lead_nowhere_and_fit_every_system(tmp_path):
    odd = ["..", "a" * 180, "line\nbreak", "caf\udce9", "CON?", "back\\slash"]
    odd = [odd[0], *(f"{name}.jpg" for name in odd[1:])]
    hits = []
    for rank, name in enumerate(odd, start=1):
        folder = tmp_path / str(rank)
        folder.mkdir()
        if name != "..":
            Image.new("RGB", (8, 8)).save(folder / "x.png")
            (folder / "x.png").rename(folder / name)
        hits.append(hit(rank, folder / name))
    take_home(TakenHome.of_hits(hits), tmp_path / "hits.zip")
    with zipfile.ZipFile(tmp_path / "hits.zip") as archive:
        names = archive.namelist()[:-2]
    assert len(names) == len(odd) - 1
    for name in names:
        assert re.fullmatch(r"\d{4}_[^\x00-\x1f<>:\"/\\|?*]+\.jpg", name) and len(name) <= 110
    assert r"caf_xe9" in names[2]


def test_a_zip_that_would_not_fit_is_refused_before_it_is_begun(taken, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10, 9, 1_000_000))
    with pytest.raises(StorageError, match=r"about 4 MB of pictures and .* has 1 MB left"):
        take_home(taken, tmp_path / "new" / "hits.zip")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("form", [each for each in FILES if each != "zip"])
def test_a_full_disk_leaves_the_older_file(taken, tmp_path, form):
    many = replace(taken, features=list(taken) * 40, vectors=torch.eye(200, 8))
    file = tmp_path / FILES[form]
    file.write_text("older")
    with full_disk(2000), pytest.raises(StorageError, match="cannot be written"):
        take_home(many, file, form)
    assert file.read_text() == "older"
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(
        [file.name, "pictures", "town.tif"]
    )


def test_the_contact_sheet_shows_every_picture_and_runs_nothing(taken, tmp_path):
    take_home(taken.noted("look\n<script>x</script>"), tmp_path / "hits.html")
    page = (tmp_path / "hits.html").read_text(encoding="utf-8")
    assert page.count("<li>") == 5 and page.count('src="data:image/jpeg;base64,') == 4
    assert page.count("not there any more") == 1
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>" not in page
    assert "piers &amp; &lt;boats&gt;" in page and "@media print" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "0.900" in page and "53.05000 8.85000" in page and "stands for 3" in page


def test_stac_is_a_collection_with_items_and_vectors(taken, tmp_path):
    take_home(taken, tmp_path / "stac", "stac")
    whole = json.loads((tmp_path / "stac" / "collection.json").read_text())
    told = [whole[name] for name in ("emb:type", "emb:dimensions", "data_type")]
    assert told == ["chip", 8, "float32"]
    assert whole["extent"]["spatial"]["bbox"] == [[-180.0, -10.0, 180.0, 53.1]]
    rels = [link["rel"] for link in whole["links"]]
    assert rels.count("item") == 5 and {"emb:model", "emb:source-data", "root"} <= set(rels)
    items = [
        json.loads((tmp_path / "stac" / link["href"]).read_text())
        for link in whole["links"]
        if link["rel"] == "item"
    ]
    assert len({item["id"] for item in items}) == 5
    assert items[0]["properties"]["datetime"] == "2024-05-01T00:00:00Z"
    assert items[0]["bbox"] == [8.8, 53.0, 8.9, 53.1]
    assert items[1]["properties"]["datetime"] is None
    assert items[1]["properties"]["start_datetime"] < items[1]["properties"]["end_datetime"]
    assert items[2]["geometry"] is None and "bbox" not in items[2]
    assert items[4]["properties"]["emb:runtime_parameters"]["window"] == [0, 32, 32, 32]
    for item in items:
        there = (tmp_path / "stac" / "items" / item["assets"]["embeddings"]["href"]).resolve()
        row = item["properties"]["emb:runtime_parameters"]["row"]
        assert pq.read_table(there)["embedding"][row].as_py()[row] == 1
        allowed = {"emb:runtime_parameters"}
        assert {name for name in item["properties"] if name.startswith("emb:")} == allowed
    with pytest.raises(OutputExistsError):
        take_home(taken, tmp_path / "stac", "stac")
    with pytest.raises(QueryError, match="None of the 1 pictures has a place on earth"):
        take_home(replace(taken, features=taken.features[2:3]), tmp_path / "s", "stac")


def test_stac_opens_in_pystac(taken, tmp_path):
    pystac = pytest.importorskip("pystac")
    take_home(taken, tmp_path / "stac", "stac")
    whole = pystac.Collection.from_file(str(tmp_path / "stac" / "collection.json"))
    items = list(whole.get_items())
    assert [item.properties["rsctir:rank"] for item in items] == [1, 2, 3, 4, 5]
    assert all(Path(item.assets["embeddings"].get_absolute_href()).exists() for item in items)


def test_nothing_found_is_written_all_the_same(tmp_path):
    none = TakenHome.of_hits([], text="a")
    for form, name in FILES.items():
        assert take_home(none, tmp_path / name, form) == []
    assert pq.read_table(tmp_path / "hits.parquet").num_rows == 0
    assert json.loads((tmp_path / "hits.geojson").read_text())["features"] == []


def test_a_thousand_hits_are_taken_home(taken, tmp_path):
    many = replace(taken, features=list(taken) * 200, vectors=torch.eye(1000, 8))
    for form, name in FILES.items():
        take_home(many, tmp_path / name, form)
    with zipfile.ZipFile(tmp_path / "hits.zip") as archive:
        assert len(archive.namelist()) == len(set(archive.namelist())) == 802


FORMAT_OF = {
    "a.geojson": "geojson", "a.JSON": "geojson", "a": "geojson", "a.parquet": "geoparquet",
    "a.htm": "html", "a.zip": "zip", "a.csv": "csv",
}  # fmt: skip


@pytest.mark.parametrize("name", FORMAT_OF)
def test_the_suffix_says_the_format(name):
    assert choose_format(Path(name)) == FORMAT_OF[name]


@pytest.mark.parametrize(
    ("name", "form", "expected"),
    [
        ("a.csv", "zip", r"format is zip and a.csv ends with '.csv', which is csv"),
        ("a.xlsx", None, r"ends with '.xlsx', which is no format of hits; expected .geojson, "),
        ("a.csv", "shape", "expected one of geojson, csv"),
    ],
)
def test_a_format_that_the_suffix_contradicts_is_refused(name, form, expected):
    with pytest.raises(QueryError, match=expected):
        choose_format(Path(name), form)
    assert choose_format(Path("a.json"), "json") == "json"
    assert choose_format(Path("a.dat"), "csv") == "csv"


def test_the_middle_of_a_box_over_the_antimeridian_lies_in_it():
    assert middle_of((170, 0, -160, 10)) == (-175, 5)
    assert middle_of((-10, 0, 20, 10)) == (5, 5)


def test_every_format_of_the_command_is_there():
    assert set(FILES) | {"stac"} == set(FORMATS)


def test_a_polygon_in_well_known_binary_is_the_textbook_one():
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    written = well_known_binary(square)
    assert written[:13].hex() == "01" + "03000000" + "01000000" + "04000000"
    assert read_wkb(written) == (square["coordinates"], 13 + 4 * 16)
    assert box_of({"geometry": square}) == (0, 0, 1, 1)
