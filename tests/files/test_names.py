"""Names that are no UTF-8 as text and back, and which files of a folder are listed."""

import itertools
import os
import socket

import pytest
from PIL import Image

from rsctir_hf.errors import DataLayoutError
from rsctir_hf.files.listing import list_files, stamp_of
from rsctir_hf.files.names import as_text, named_path, path_of

LATIN_1 = os.fsdecode(b"caf\xe9.jpg")
NAMES = [LATIN_1, r"caf\xe9.jpg", r"caf\x5cxe9.jpg", r"a\x41", "back\\slash", "é 漢字 😀 #%.jpg"]
SUFFIXES = frozenset((".png",))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_as_text_is_utf_8_and_leads_back(name):
    text = as_text(name)
    assert text.encode().decode() == text
    assert path_of(text) == name


def test_no_two_names_have_one_text():
    pieces = ["\\", "x", "5c", "e9", os.fsdecode(b"\xe9"), os.fsdecode(b"\\"), "x5c", "é"]
    names = {"".join(parts) for parts in itertools.product(pieces, repeat=4)}
    assert len({as_text(name) for name in names}) == len(names)
    assert all(path_of(as_text(name)) == name for name in names)


def test_a_name_that_is_utf_8_without_escapes_is_its_own_text():
    assert [as_text(name) for name in NAMES[3:]] == NAMES[3:]


def test_a_file_is_named_by_itself_or_by_its_text(tmp_path):
    (tmp_path / LATIN_1).touch()
    assert named_path(tmp_path / r"caf\xe9.jpg") == str(tmp_path / LATIN_1)
    (tmp_path / r"caf\xe9.jpg").touch()
    assert named_path(tmp_path / r"caf\xe9.jpg") == str(tmp_path / r"caf\xe9.jpg")
    assert named_path(tmp_path / r"absent\xe9.jpg") == str(tmp_path / r"absent\xe9.jpg")


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, format="PNG")
    return path


def test_whatever_is_no_file_is_passed_over_with_a_line_and_never_waited_for(tmp_path, caplog):
    gallery = tmp_path / "gallery"
    picture(gallery / "a.png")
    picture(tmp_path / "outside" / "b.png")
    picture(gallery / "inside" / "c.png")
    os.mkfifo(gallery / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(gallery / "s.png"))
        (gallery / "loop.png").symlink_to("loop.png")
        (gallery / "broken.png").symlink_to("absent.png")
        (gallery / "again").symlink_to("inside")
        (gallery / "up").symlink_to("..")
        (gallery / "there").symlink_to(tmp_path / "outside")
        found = list_files(gallery, SUFFIXES, what="pictures")
    assert [path.relative_to(gallery).as_posix() for path in found] == ["a.png", "inside/c.png"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    for told in (
        "2 pipes, sockets or devices passed over (pipe.png, s.png)",
        "2 links to nothing passed over (broken.png, loop.png)",
        "3 links to folders passed over (again, there, up)",
    ):
        assert any(told in line for line in lines)


@pytest.mark.parametrize(
    "name",
    ["a.b.PNG", " .png", "-rf.png", "new\nline.png", '"quoted".png', "#%41.png", "e\u0301.png",
     "\u00e9.png", "\u202eabc.png", "😀.png", "x" * 251 + ".png", "A.png", "a.png"],
)  # fmt: skip
def test_odd_names_are_names(tmp_path, name):
    picture(tmp_path / name)
    assert list_files(tmp_path, SUFFIXES, what="pictures") == [tmp_path / name]


def test_a_closed_folder_is_told_and_a_closed_gallery_refused(read_only, caplog):
    user = os.geteuid()
    os.seteuid(0) if os.getuid() == 0 else None
    picture(read_only.parent / "open" / "a.png")
    picture(read_only.parent / "open" / "shut" / "b.png").parent.chmod(0)
    os.seteuid(user)
    assert len(list_files(read_only.parent / "open", SUFFIXES, what="pictures")) == 1
    assert "1 folders that may not be read passed over (shut)" in caplog.text
    with pytest.raises(DataLayoutError, match="may not be read"):
        list_files(read_only.parent / "open" / "shut", SUFFIXES, what="pictures")


def test_a_stamp_tells_of_every_file(tmp_path, monkeypatch):
    monkeypatch.setattr("rsctir_hf.files.listing.SETTLED_AFTER", -1)
    files = [picture(tmp_path / name) for name in ("a.png", "b.png")]
    first = stamp_of(files)
    assert first == stamp_of(files[::-1])
    assert len({first, stamp_of(files[:1])}) == 2
    os.utime(files[1], (1e9, 1e9))
    assert stamp_of(files) != first
    assert stamp_of([*files, tmp_path / "absent.png"]) == ""
