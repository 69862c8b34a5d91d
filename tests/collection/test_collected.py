"""A collection: what is ticked stays, with notes, and everything can be undone."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from rsctir_hf.collection.collected import Collection, changing
from rsctir_hf.collection.features import key_of
from rsctir_hf.collection.take_home import take_home
from rsctir_hf.errors import DataLayoutError, FolderBusyError, QueryError, StorageError
from tests.collection.conftest import hit
from tests.full_disk import full_disk


def names(collection):
    return [feature["properties"]["file"] for feature in collection.features]


def notes(collection):
    return [feature["properties"]["note"] for feature in collection.features]


@pytest.fixture
def piers(taken):
    made = Collection("piers")
    made.add(taken.features[:2], link="?text=piers")
    return made


def test_a_picture_keeps_how_it_was_found(piers, taken):
    said = piers.features[0]["properties"]
    assert (
        said["score"] == 0.9 and said["text"] == "piers & <boats>" and said["link"] == "?text=piers"
    )
    assert said["path"].endswith("/pictures/pier.jpg") and said["added"].endswith("Z")
    assert piers.features[0]["geometry"] == taken.features[0]["geometry"]


def test_added_again_it_keeps_place_and_note_and_takes_the_newer_score(piers, taken):
    piers.note(key_of(taken.features[1]), "rebuilt")
    again = {**taken.features[1], "properties": {**taken.features[1]["properties"], "score": 0.1}}
    assert piers.add([again, taken.features[2]]) == 1
    assert names(piers) == ["pier.jpg", "pier.jpg", "=1+1 <b>.png"]
    assert notes(piers) == ["", "rebuilt", ""]
    assert piers.features[1]["properties"]["score"] == 0.1


def test_every_action_is_undone_and_done_again(piers, taken):
    states = [list(piers.features)]
    piers.note(key_of(taken.features[0]), "look")
    states.append(list(piers.features))
    piers.remove(key_of(taken.features[1]))
    states.append(list(piers.features))
    assert [len(state) for state in states] == [2, 2, 1]
    assert piers.undo() == "remove 1 picture" and piers.features == states[1]
    assert piers.undo() == "note 1 picture" and piers.features == states[0]
    assert piers.undo() == "add 2 pictures" and len(piers) == 0
    with pytest.raises(QueryError, match="nothing to undo in the collection 'piers'"):
        piers.undo()
    assert [piers.redo(), piers.redo(), piers.redo()][2] == "remove 1 picture"
    assert piers.features == states[2]
    with pytest.raises(QueryError, match="nothing to do again"):
        piers.redo()
    piers.undo()
    piers.add(taken.features[2:3])  # what was undone is no more
    with pytest.raises(QueryError, match="nothing to do again"):
        piers.redo()
    assert len(piers) == 3


def test_two_collections_become_one_with_the_notes_of_both(piers, taken):
    other = Collection("other")
    other.add(taken.features[1:3])
    for made, note in ((piers, "mine"), (other, "yours")):
        made.note(key_of(taken.features[1]), note)
    assert piers.merge(other) == 1
    assert notes(piers) == ["", "mine\nyours", ""]
    assert piers.merge(other) == 0 and notes(piers)[1] == "mine\nyours"
    piers.undo()
    piers.undo()
    assert notes(piers) == ["", "mine"]


def test_it_comes_back_from_its_file_with_all_that_can_be_undone(piers, tmp_path):
    piers.save(tmp_path / "piers.json")
    back = Collection.load(tmp_path / "piers.json")
    assert back == piers
    back.undo()
    back.save(tmp_path / "piers.json")
    back = Collection.load(tmp_path / "piers.json")
    assert len(back) == 0 and back.redo() == "add 2 pictures"


def test_pictures_that_are_gone_are_named(taken, tmp_path):
    made = Collection("all")
    made.add(taken.features)
    assert [Path(path).name for path in made.gone] == ["gone.jpg"]
    (tmp_path / "town.tif").unlink()
    assert [path.split("/")[-1].split("#")[0] for path in made.gone] == ["gone.jpg", "town.tif"]
    said = take_home(made.taken_home(), tmp_path / "all.zip")
    assert said[0].startswith("2 of 5 pictures are gone: ")


def test_a_picture_is_known_by_its_name_where_that_is_its_own(piers, taken):
    piers.add(taken.features[2:4])
    piers.note("gone.jpg", "a note")
    assert notes(piers)[3] == "a note"
    piers.note("gone.jpg", "")
    assert notes(piers)[3] == ""
    with pytest.raises(QueryError, match=r"2 pictures are named 'pier.jpg'. Give the whole path"):
        piers.remove("pier.jpg")
    with pytest.raises(QueryError, match=r"no picture 'x.jpg'. 'rsctir collection list' shows"):
        piers.note("x.jpg", "")


def test_a_picture_from_memory_is_refused_and_nothing_changes(piers, taken):
    odd = type(taken).of_hits([hit(1, None)])
    with pytest.raises(QueryError, match="handed in from memory"):
        piers.add([*taken.features[2:], *odd.features])
    assert len(piers) == 2 and len(piers.log) == 1


DAMAGED = {
    "empty": "",
    "half": '{"rsctir_collection": 1, "name": "a", "log": [',
    "list": "[]",
    "another": '{"type": "FeatureCollection"}',
    "newer": '{"rsctir_collection": 2, "name": "a", "done": 0, "log": []}',
    "more done than there is": '{"rsctir_collection": 1, "name": "a", "done": 2, "log": []}',
    "unknown action": '{"rsctir_collection": 1, "name": "a", "done": 1, "log": [{"do": "x"}]}',
    "no features": '{"rsctir_collection": 1, "name": "a", "done": 1, "log": [{"do": "add"}]}',
    "bytes": "\udcff",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_and_left_alone(tmp_path, taken, case):
    file = tmp_path / "c.json"
    file.write_bytes(DAMAGED[case].encode("utf-8", "surrogateescape"))
    with pytest.raises(DataLayoutError, match=r"c.json is no collection, or is damaged"):
        Collection.load(file)
    with pytest.raises(DataLayoutError), changing(file) as found:
        found.add(taken.features)
    assert file.read_bytes() == DAMAGED[case].encode("utf-8", "surrogateescape")


def test_a_file_that_is_not_there_says_how_one_begins(tmp_path):
    with pytest.raises(DataLayoutError, match="rsctir search --collect"):
        Collection.load(tmp_path / "c.json")


def add_one(file, feature):
    with changing(file, patience=60) as found:
        found.add([feature])


def test_processes_that_add_at_once_all_count(tmp_path, taken):
    file = tmp_path / "new" / "c.json"
    context = multiprocessing.get_context("fork")
    running = []
    for number in range(8):
        said = {**taken.features[0]["properties"], "path": f"/{number}.jpg"}
        feature = {**taken.features[0], "properties": said}
        running.append(context.Process(target=add_one, args=(file, feature)))
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert sorted(map(key_of, Collection.load(file).features)) == [f"/{n}.jpg" for n in range(8)]


def test_who_waits_too_long_is_told(tmp_path, taken):
    file = tmp_path / "c.json"
    with FileLock(tmp_path / ".c.json.lock"), pytest.raises(FolderBusyError, match="0 seconds"):  # noqa: SIM117
        with changing(file, patience=0):
            pass
    assert not file.exists()


def test_an_error_leaves_the_file_as_it_was(tmp_path, taken):
    file = tmp_path / "c.json"
    add_one(file, taken.features[0])
    before = file.read_bytes()
    with pytest.raises(KeyError), changing(file) as found:
        found.add(taken.features)
        raise KeyError
    many = [
        {**each, "properties": {**each["properties"], "path": f"/{number}"}}
        for number, each in enumerate(list(taken.features[:1]) * 50)
    ]
    with full_disk(3000), pytest.raises(StorageError), changing(file) as found:
        found.add(many)
    assert file.read_bytes() == before
    assert json.loads(before)["name"] == "c"


def test_a_thousand_pictures_are_quickly_kept(tmp_path, taken):
    features = [
        {**each, "properties": {**each["properties"], "path": f"/{number}", "tile": None}}
        for number, each in enumerate(list(taken.features) * 200)
    ]
    with changing(tmp_path / "c.json") as found:
        assert found.add(features) == 1000
        for number in range(20):
            found.note(f"/{number}", "x")
    assert len(Collection.load(tmp_path / "c.json")) == 1000
    assert len(replace(taken, features=found.features).gone) == 1000
