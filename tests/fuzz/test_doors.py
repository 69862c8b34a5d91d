"""Hostile commands, and requests to every event and endpoint of the app."""

import asyncio
import contextlib
import io
import json
import os
import sys
import time
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.state_holder import SessionState
from hypothesis import given
from hypothesis import strategies as st

from rsctir_cli.main import main as rsctir
from rsctir_hf.errors import RsctirError
from rsctir_hf.ui.endpoints import Endpoints
from rsctir_hf.ui.layout import build_app
from rsctir_hf.ui.server.settings import AppSettings
from rsctir_hf.ui.server.workbench import Workbench
from tests.conftest import ROOT
from tests.fuzz.good_files import a_picture, emptied, picture_files, rasters
from tests.fuzz.hostile import MARKUP, ODD_TEXTS, numbers, often, texts, values
from tests.fuzz.oracle import (
    Complaint,
    Refused,
    look_for_leaks,
    passed_through_ours,
    taken_or_refused,
)
from tests.ui.tiny_models import save_gallery, save_models

READY_WITHIN = 120.0  # seconds, for the app's gallery
#: Read as names of files and folders. Without the user's own folder, which may be large.
NAMES = tuple(text for text in ODD_TEXTS if text != "~")
DATA = st.data()
#: Good commands; words in capitals stand for what the fixture ``place`` holds.
COMMANDS = [
    command.split()
    for command in (
        "evaluate --model MODEL --bank BANK --data DATA --split test --rerank smr --symmetries 1"
        " --temperature 0.1 --output OUT",
        "embed --model MODEL --images GALLERY --output OUT --workers 0 --batch-size 4"
        " --dtype float16 --symmetries 1",
        "index --model MODEL --images GALLERY --index OUT --engine exact --regions model",
        "index --model MODEL --rasters FILES --index OUT --tile 32 --overlap 0.2 --gsd 0.5"
        " --bands 1",
        "search --index INDEX --bank BANK --text block --top-k 3 --rerank mr --json"
        " --threshold 0.5",
        "search --index INDEX --bank BANK --text block --where year=3 --bbox 8,53,9,54"
        " --rerank match --images GALLERY --model MODEL",
        "search --index INDEX --bank BANK --image PICTURE --top-k 2 --device cpu",
        "caption --model MODEL --bank BANK --image PICTURE --top-k 3 --rerank match",
        "scene --model MODEL --bank BANK --raster RASTER --output OUT --text block --tile 32"
        " --overlap 0.1 --gsd 1 --bands 1,2,3 --top-k 2 --heatmap OUT",
        "convert --benchmark ucm --data DATA --output OUT --partial --format imagefolder",
        "leakage DATA:test GALLERY",
        "card --model MODEL --results BANK --dataset ucm=a/b",
        "push --model MODEL --repo someone/name --revision main",
        "import-clip --weights MODEL/model.safetensors --output OUT --vocabulary BANK",
    )
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Models, a gallery, an index, and files of all kinds, good and bad."""
    place = tmp_path_factory.mktemp("doors")
    save_models(place)
    (place / "data").mkdir()
    save_gallery(place / "data" / "test")
    (place / "data" / "test" / "aa_broken.png").unlink()
    (place / "data" / "test" / "<b>.png").write_bytes(a_picture())
    files = emptied(place / "files")
    for number, content in enumerate(picture_files()):
        (files / f"picture{number}.png").write_bytes(content)
        (files / f"cut{number}.jpg").write_bytes(content[: len(content) // 2])
    for number, content in enumerate(rasters()):
        (files / f"raster{number}.tif").write_bytes(content)
    (files / "pickle.pkl").write_bytes(b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x02os\x94.")
    (files / "array.npy").write_bytes(b"\x93NUMPY\x01\0v\0{'descr': '|O', 'shape': (1,)}\n")
    (files / "empty.png").write_bytes(b"")
    (files / f"{MARKUP.replace('/', '')}.png").write_bytes(a_picture())
    (files / "text.tif").write_text("no picture")
    (files / "words.txt").write_text("a pier\nboats\n")
    (place / "plain").write_text("a file")
    return place


@pytest.fixture(scope="module")
def words(place):
    """What the capitals of ``COMMANDS`` stand for."""
    known = {
        "MODEL": place / "cmpagl",
        "BANK": place / "files" / "words.txt",
        "DATA": place / "data",
        "GALLERY": place / "data" / "test",
        "FILES": place / "files",
        "INDEX": place / "index",
        "PICTURE": place / "data" / "test" / "block_00.png",
        "RASTER": place / "files" / "raster0.tif",
    }
    command_line(
        filled(["index", "--model", "MODEL", "--images", "GALLERY", "--index", "INDEX"], known)
    )
    return known


def filled(command, known):
    """Put places for capitals, longest names first."""
    for name in sorted(known, key=len, reverse=True):
        command = [word.replace(name, str(known[name])) for word in command]
    return command


def file_names(place):
    good = sorted((place / "data" / "test").glob("*.png"))[:2]
    return [str(path) for path in (*good, *sorted((place / "files").iterdir()), place / "files")]


def changed(command, changes, out):
    """Return a command with some words replaced, left out or given twice; it writes to ``out``."""
    for how, where, word in changes:
        at = where % len(command)
        if "OUT" in command[max(at - 1, 0) : at + 2]:  # nothing is written where chance says
            continue
        if how == "drop":
            command = command[:at] + command[at + 1 :]
        elif how == "twice":
            command = command[:at] + command[at : at + 2] + command[at:]
        elif at:
            command = [*command[:at], word, *command[at + 1 :]]
    return [out if word == "OUT" else word for word in command]


def command_line(words):
    """Run a command in this process as its entry point does; exit codes 1 and 2 need words."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # strict, as a terminal's is
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    older, sys.argv = sys.argv, ["rsctir", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            rsctir()
        code = 0
    except SystemExit as left:
        code = left.code or 0
    finally:
        sys.argv = older
    said = err.detach().getvalue().decode() + out.detach().getvalue().decode()
    if code not in (0, 1, 2) or "Traceback (most recent" in said:
        raise Complaint(f"exit code {code}: {said}")
    if code == 2 and not any(word in said for word in ("error: ", "Error", "Usage: ")):
        raise Complaint(f"exit code 2 without words: {said}")
    if code:
        raise Refused(f"exit code {code}")


@given(data=DATA)
def test_changed_commands(place, words, monkeypatch, data):
    made = emptied(place / "made")
    outs = ["new", "a\0b", "x" * 300, "../plain", "../plain/below", "\udcff", "..", "<b>.json"]
    word = st.one_of(
        st.sampled_from(NAMES),
        numbers().map(str),
        st.sampled_from(file_names(place)),
        st.sampled_from(["none", "model", "--json", "--unknown", "year=\0", "=", "1,2,3,4"]),
    )
    how = st.sampled_from(["put", "put", "put", "drop", "twice"])
    changes = data.draw(st.lists(st.tuples(how, st.integers(0, 99), word), max_size=3))
    command = data.draw(st.sampled_from(COMMANDS))
    out = f"{made}/{data.draw(st.sampled_from(outs))}"
    with monkeypatch.context() as here:
        here.chdir(made)
        taken_or_refused(command_line, changed(filled(command, words), changes, out))


@pytest.fixture(scope="module")
def app(place):
    """The app in this process, its gallery indexed."""
    os.environ["GRADIO_TEMP_DIR"] = str(place)  # where uploads lie
    bench = Workbench(
        AppSettings(
            model=str(place / "cmpagl"),
            region_model=str(place / "galr"),
            gallery=str(place / "data" / "test"),
            bank=place / "files" / "words.txt",
        )
    )
    bench.retriever()
    until = time.monotonic() + READY_WITHIN
    while not bench.status.over and time.monotonic() < until:
        time.sleep(0.05)
    demo = build_app(bench)
    yield SimpleNamespace(demo=demo, endpoints=Endpoints(bench), session=SessionState(demo))
    del os.environ["GRADIO_TEMP_DIR"]


@often(2)
@given(data=DATA)
def test_calls_of_endpoints(app, place, data):
    path = st.one_of(st.sampled_from(file_names(place)), texts(), st.none())
    rerank = st.one_of(st.sampled_from(["none", "smr", "mr", "match"]), values())
    many = st.one_of(st.integers(1, 5), numbers(), values())
    name, *given_ = data.draw(
        st.one_of(
            st.tuples(
                st.just("find_pictures"), st.one_of(texts(), values()), rerank, many, st.booleans()
            ),
            st.tuples(st.just("find_sentences"), path, rerank, many),
            st.tuples(st.just("find_similar_pictures"), path, rerank, many),
            st.tuples(st.just("region_graph"), path),
        )
    )

    def call():
        if str(place) in json.dumps(getattr(app.endpoints, name)(*given_)):
            raise Complaint("an answer names a folder of the server")

    taken_or_refused(call, refusals=(RsctirError, gr.Error))


def payloads(component, files):
    """What a client may send for a component."""
    if isinstance(component, gr.Image | gr.File):
        path = st.one_of(st.sampled_from([*files, str(ROOT / "README.md")]), texts())
        one = path.map(lambda name: {"path": name, "meta": {"_type": "gradio.FileData"}})
        bare = path.map(lambda name: {"path": name})
        several = st.lists(st.one_of(one, bare), max_size=3)
        return st.one_of(one, one, one, bare, several, values())
    if isinstance(component, gr.Slider | gr.Number):
        low, high = component.minimum or 0, component.maximum or 2048
        return st.one_of(st.integers(int(low), int(high)), numbers(), values())
    if isinstance(component, gr.Radio):
        return st.one_of(st.sampled_from([value for _, value in component.choices]), values())
    return st.one_of(texts(), st.just("a block"), values())


def send(app, place, number, inputs, clicked):
    """Send an event as a page does, in the one visitor's session."""
    block, data = app.demo.fns[number], gr.EventData(None, clicked)
    try:
        answer = asyncio.run(
            app.demo.process_api(block, inputs, state=app.session, event_data=data)
        )
    except gr.Error as error:
        if passed_through_ours(error):
            look_for_leaks(str(error), place)
        raise
    except Exception as error:
        if passed_through_ours(error):
            raise
        raise Refused(f"by gradio: {error!r}") from error
    for component, shown in zip(block.outputs, answer["data"], strict=False):
        content = shown.get("value") if isinstance(shown, dict) else shown
        if isinstance(component, gr.HTML) and isinstance(content, str):
            look_for_leaks(content, place)
            if 'role="alert"' in content:
                raise Refused(content)


@often(4)
@given(data=DATA)
def test_events_of_the_page(app, place, data):
    handled = sorted(at for at, event in app.demo.fns.items() if event.fn and event.targets)
    number = data.draw(st.sampled_from(handled))
    files = file_names(place)
    inputs = [data.draw(payloads(each, files)) for each in app.demo.fns[number].inputs]
    item = st.one_of(st.integers(0, 3), values())
    clicked = data.draw(st.one_of(st.builds(lambda each: {"item": each}, item), values()))
    taken_or_refused(send, app, place, number, inputs, clicked, refusals=(gr.Error,))
