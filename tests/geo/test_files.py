"""A file appears whole or not at all."""

import pytest

from rsctir_hf.geo.files import replacing


def test_a_finished_file_takes_its_place(tmp_path):
    with replacing(tmp_path / "new" / "a.txt") as unfinished:
        unfinished.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert [file.read_text() for file in (tmp_path / "new").iterdir()] == ["whole"]


def test_an_error_leaves_the_older_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("older")
    with pytest.raises(RuntimeError), replacing(file) as unfinished:
        unfinished.write_text("hal")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "older")]
