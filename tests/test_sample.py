"""What the package brings along: the drawn scenes and the caption bank, and how both are read."""

import pytest

import rsctir_hf.sample as sample
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.sample import read_caption_bank, sample_folder


def test_a_missing_gallery_says_how_to_draw_it(monkeypatch, tmp_path):
    monkeypatch.setattr(sample, "SCENE_FOLDER", tmp_path)
    with pytest.raises(DataLayoutError, match=r"python -m drawn_scenes\.build"):
        sample_folder()


def test_comments_blank_lines_and_repeats_are_left_out(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("# mine\n\nA red barn.\n  A blue barn. \nA red barn.\n", encoding="utf-8")
    assert read_caption_bank(file) == ["A red barn.", "A blue barn."]


def test_a_missing_bank_is_named(tmp_path):
    with pytest.raises(DataLayoutError, match=r"absent\.txt.*one caption a line"):
        read_caption_bank(tmp_path / "absent.txt")


def test_an_empty_bank_is_refused(tmp_path):
    file = tmp_path / "empty.txt"
    file.write_text("# only a comment\n\n", encoding="utf-8")
    with pytest.raises(QueryError, match="holds no sentence"):
        read_caption_bank(file)


def test_a_bank_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "picture.txt"
    file.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    with pytest.raises(DataLayoutError, match="not UTF-8"):
        read_caption_bank(file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_bank_may_have_a_byte_order_mark_and_any_line_end(encoding, tmp_path):
    (tmp_path / "bank.txt").write_bytes("a pier\r\nthe caf\u00e9\r\n".encode(encoding))
    assert read_caption_bank(tmp_path / "bank.txt") == ["a pier", "the caf\u00e9"]
