"""Files and folders appear whole or not at all."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rsctir_hf.errors import DataLayoutError, FolderBusyError, StorageError
from rsctir_hf.files import atomic
from rsctir_hf.files.atomic import (
    new_folder,
    only_writer,
    replacing,
    replacing_files,
    write_atomically,
)
from tests.full_disk import full_disk


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


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


def test_text_and_bytes_are_written_and_folders_made(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "größer")
    write_atomically(tmp_path / "a" / "c.bin", b"\x00\xff", durable=False)
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "größer"
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\xff"
    assert names_in(tmp_path / "a") == ["b.txt", "c.bin"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for write in (lambda: write_atomically(pipe, "a"), lambda: write_beside(pipe, b"a")):
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(pipe.read_text)
            write()
            assert found.result(timeout=10) == "a"
        assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_names_of_devices_are_known_without_touching_them(tmp_path):
    devices = ("/dev/null", "/dev/stdout", "/dev/fd/1")
    assert all(atomic._is_device(Path(name)) for name in devices)
    assert not any(map(atomic._is_device, (tmp_path, tmp_path / "new", Path(__file__))))


def write_beside(path, content):
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def test_a_full_disk_leaves_the_older_file_and_says_so(tmp_path):
    file = tmp_path / "report.json"
    file.write_text("older")
    with (
        full_disk(4096),
        pytest.raises(StorageError, match=r"report\.json cannot be written .*Make room there"),
    ):
        write_atomically(file, "x" * 5000)
    assert file.read_text() == "older"
    assert names_in(tmp_path) == ["report.json"]


def test_a_full_disk_leaves_every_file_of_a_folder(tmp_path):
    (tmp_path / "weights").write_text("older")
    (tmp_path / "config").write_text("older")
    with (
        full_disk(4096),
        pytest.raises(StorageError, match="Make room there"),
        replacing_files(tmp_path) as unfinished,
    ):
        (unfinished / "config").write_text("newer")
        (unfinished / "weights").write_text("x" * 5000)
    assert names_in(tmp_path) == ["config", "weights"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"older"}


def test_the_files_of_a_folder_are_replaced_and_others_stay(tmp_path):
    for name in ("config", "notes"):
        (tmp_path / name).write_text("older")
    (tmp_path / ".files.part").mkdir()  # what a killed process left
    (tmp_path / ".files.part" / "half").write_text("x")
    with replacing_files(tmp_path) as unfinished:
        (unfinished / "config").write_text("newer")
        (unfinished / "config").chmod(0o600)  # as safetensors does
        assert (tmp_path / "config").read_text() == "older"
    assert (tmp_path / "config").stat().st_mode == (tmp_path / "notes").stat().st_mode
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"config": "newer", "notes": "older"}


def test_a_folder_that_may_not_be_written_to_is_named(read_only):
    with pytest.raises(StorageError, match=r"a\.txt cannot be written .*Choose a folder that you"):
        write_atomically(read_only / "a.txt", "text")
    with (
        pytest.raises(StorageError, match=r"cannot be written .*Choose a folder that you may"),
        replacing_files(read_only) as unfinished,
    ):
        (unfinished / "a.txt").write_text("text")
    assert names_in(read_only) == []


def test_what_cannot_be_made_is_named_by_its_own_name(tmp_path):
    (tmp_path / "file").touch()
    wanted = tmp_path / "file" / "new.tif"
    with pytest.raises(StorageError, match=f"{wanted} cannot be written"), replacing(wanted):
        pass
    with pytest.raises(StorageError, match="/proc/new cannot be written"), new_folder("/proc/new"):
        pass


def test_what_fails_for_a_reason_of_its_own_keeps_its_words(tmp_path):
    with pytest.raises(DataLayoutError, match=r"^no pictures$"), replacing(tmp_path / "a.tif"):
        raise DataLayoutError("no pictures")
    assert list(tmp_path.iterdir()) == []


def test_a_move_that_is_not_allowed_leaves_nothing(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(atomic.os, "replace", denied)
    with pytest.raises(StorageError, match=r"a\.txt cannot be written \(Permission denied\)"):
        write_atomically(tmp_path / "a.txt", "text")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("write", ["content", "block"])
def test_what_a_killed_process_left_long_ago_is_removed_and_what_is_being_written_is_not(
    tmp_path, write
):
    file = tmp_path / "a.txt"
    old, young = (tmp_path / f"a.txt.{number}.part" for number in (11, 12))
    other = tmp_path / "b.txt.13.part"
    for path in (old, young, other):
        path.write_text("hal")
    long_ago = time.time() - atomic.STALE - 1
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    if write == "content":
        write_atomically(file, "whole")
    else:
        with replacing(file) as unfinished:
            unfinished.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([file, young, other])


def test_a_folder_has_one_writer_who_is_named_to_the_next(tmp_path):
    folder = tmp_path / "new" / "folder"
    with only_writer(folder):
        assert names_in(folder) == [".lock", ".lock.json"]
        itself = f"written by process {os.getpid()} on .* since"
        with pytest.raises(FolderBusyError, match=itself), only_writer(folder, patience=0.1):
            pass
        (folder / ".lock.json").write_text("[]")
        with pytest.raises(FolderBusyError, match="by another process"), only_writer(folder):
            pass
    assert ".lock.json" not in names_in(folder)
    with only_writer(folder):
        pass


def test_a_folder_that_cannot_be_locked_is_named(read_only):
    with (
        pytest.raises(StorageError, match="Choose a folder that you may write to"),
        only_writer(read_only),
    ):
        pass
