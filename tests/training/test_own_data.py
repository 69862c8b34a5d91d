"""What own data is called where nobody has said it."""

import pytest

from rsctir_hf.training.own_data import own_name


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("harbours.csv", "harbours"),
        ("my set/harbours.parquet", "harbours"),
        ("my set/captions.csv", "my set"),
        ("my set/metadata.jsonl", "my set"),
        ("my set/train-00000-of-00001.parquet", "my set"),
        ("my set/captions_val.csv", "captions_val"),
        ("captions.csv", "captions"),  # the checkout's name is not that of the data
        ("my set", "my set"),
        ("somebody/harbours@main", "harbours"),
    ],
)
def test_own_data_is_called_as_its_file_or_folder(file, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rsctir_hf.training.own_data.CHECKOUT", tmp_path)
    (tmp_path / "my set").mkdir()
    if "@" not in file and file != "my set":
        (tmp_path / file).touch()
        assert own_name(str(tmp_path / file)) == name
    assert own_name(file) == name
