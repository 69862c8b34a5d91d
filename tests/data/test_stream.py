"""Streams: captions are known beforehand, rows come shuffled, held-out pictures are left out."""

from dataclasses import replace

import datasets
import pytest
from torch.utils.data import DataLoader

from rsctir_hf.data.augmentation import Augmentation
from rsctir_hf.data.collator import RowDrawer
from rsctir_hf.data.stream import StreamView, file_digests, stream_from_hub
from rsctir_hf.data.tables import standardise
from rsctir_hf.errors import DataLayoutError, ImageReadError
from tests.miniature import draw_picture, hub_table, sentences

pytestmark = pytest.mark.usefixtures("quick_streams")

ROWS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set in two Parquet files, as the Hub keeps it."""
    root = tmp_path_factory.mktemp("parquet")
    (root / "data").mkdir()
    for number in range(2):
        part = hub_table(ROWS // 2, first=number * (ROWS // 2))
        part.to_parquet(root / "data" / f"train-0000{number}-of-00002.parquet")
    return root


def view(folder, *, seed=0, **changes):
    table = replace(stream_from_hub(str(folder), "train", buffer_size=4), **changes)
    return StreamView(table, RowDrawer(seed=seed, augmentation=Augmentation()))


def names(rows):
    return [row.all_captions[0] for row in rows]


def signature(rows):
    return [(row.row, row.captions, row.image.tobytes()) for row in rows]


def test_captions_and_length_are_known_before_any_picture_is_read(folder):
    table = stream_from_hub(str(folder), "train", buffer_size=4)
    assert table.captions == [sentences(number) for number in range(ROWS)]
    assert len(table) == len(StreamView(table, RowDrawer(seed=0))) == ROWS
    assert len(stream_from_hub(str(folder), "train", buffer_size=4, limit=5)) == 5


def test_an_epoch_is_every_row_once_in_an_order_of_its_own(folder):
    stream = view(folder)
    first = list(stream)
    assert len({row.image.tobytes() for row in first}) == ROWS
    assert [row.row for row in first] == list(range(ROWS))
    stream.set_epoch(1)
    assert names(stream) != names(first)
    assert sorted(names(stream)) == sorted(names(first))


def test_an_epoch_repeats_exactly_whatever_came_before(folder):
    stream, again = view(folder), view(folder)
    stream.set_epoch(1)
    expected = signature(stream)
    list(again)
    again.set_epoch(1)
    assert signature(again) == expected
    other = view(folder, seed=1)
    other.set_epoch(1)
    assert signature(other) != expected


@pytest.mark.slow
def test_workers_share_the_files_and_see_the_epoch_change(folder):
    stream = view(folder)
    loader = DataLoader(
        stream, batch_size=3, num_workers=2, persistent_workers=True, collate_fn=list
    )
    epochs = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        epochs.append([row for batch in loader for row in batch])
    for rows in epochs:
        assert sorted(row.row for row in rows) == list(range(ROWS))
        assert sorted(names(rows)) == sorted(sentences(number)[0] for number in range(ROWS))
    assert signature(epochs[0]) != signature(epochs[1])


def test_a_picture_that_is_held_out_is_left_out_by_its_file(folder, caplog):
    held = standardise(hub_table(2, first=3), source="held")
    rows = list(view(folder, held_out=frozenset(file_digests(held))))
    assert len(rows) == ROWS - 2
    assert sentences(3)[0] not in names(rows)
    assert "scene_3.jpg is held out too" in caplog.text


def test_a_row_without_captions_is_neither_counted_nor_drawn(tmp_path):
    (tmp_path / "data").mkdir()
    table = hub_table(3).map(
        lambda row, number: {"captions": [" "] if number == 1 else row["captions"]},
        with_indices=True,
    )
    table.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    stream = view(tmp_path)
    assert len(stream) == 2
    assert sorted(names(stream)) == sorted([sentences(0)[0], sentences(2)[0]])


def test_a_caption_column_of_plain_text_does_not_fall_into_letters(tmp_path):
    (tmp_path / "data").mkdir()
    table = hub_table(2).remove_columns("captions").add_column("caption", ["a pier", "a river"])
    table.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    stream = view(tmp_path)
    assert stream.table.captions == [["a pier"], ["a river"]]
    assert sorted(names(stream)) == ["a pier", "a river"]


def test_a_broken_picture_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    table = hub_table(1).cast_column("image", datasets.Image(decode=False))
    table = table.map(lambda row: {"image": {"bytes": b"junk", "path": "a.jpg"}})
    table.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(ImageReadError, match=r"scene_0\.jpg of the stream"):
        list(view(tmp_path))


def test_what_cannot_be_streamed_is_named(folder, tmp_path):
    with pytest.raises(DataLayoutError, match="no split 'test', only train"):
        stream_from_hub(str(folder), "test", buffer_size=4)
    (tmp_path / "data").mkdir()
    hub_table(2).remove_columns("captions").to_parquet(
        tmp_path / "data" / "train-00000-of-00001.parquet"
    )
    with pytest.raises(DataLayoutError, match=r"has the columns.*rsctir convert --push"):
        stream_from_hub(str(tmp_path), "train", buffer_size=4)
    (tmp_path / "train").mkdir()
    (tmp_path / "data" / "train-00000-of-00001.parquet").unlink()
    draw_picture(0).save(tmp_path / "train" / "a.png")
    line = '{"file_name": "a.png", "captions": ["a pier"]}\n'
    (tmp_path / "train" / "metadata.jsonl").write_text(line)
    with pytest.raises(DataLayoutError, match="Parquet"):
        stream_from_hub(str(tmp_path), "train", buffer_size=4)
