"""The doors people use: the command line, in process, and every event and endpoint of the app."""

import asyncio
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fuzz_inputs import ODD_TEXTS, numbers, texts, values
from fuzz_pictures import emptied, picture_files, rasters
from fuzz_stores import save_cmpagl, save_gallery, save_galr
from fuzz_targets import ROOT, Complaint, Refused, Target, passed_through_ours
from gradio.blocks import BlockFunction
from gradio.state_holder import SessionState
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rsctir_cli.main import main as rsctir
from rsctir_hf.errors import RsctirError
from rsctir_hf.ui.endpoints import Endpoints
from rsctir_hf.ui.layout import build_app
from rsctir_hf.ui.server.settings import AppSettings
from rsctir_hf.ui.server.workbench import Workbench

READY_WITHIN = 120.0  # seconds, for the app's gallery
#: Read as names of files and folders. Without the user's own folder, which may be large.
NAMES = tuple(text for text in ODD_TEXTS if text != "~")


def door_targets(place: Path) -> list[Target]:
    """Return the command line and the app; they write below ``place``, where uploads lie too."""
    model, gallery = save_cmpagl(place / "model"), save_gallery(place / "gallery" / "test")
    files = odd_files(emptied(place / "files"), gallery)
    return [
        Target("command line", commands(place, model, gallery, files), runner(place), 900),
        *app_targets(place, model, gallery, files),
    ]


def odd_files(folder: Path, gallery: Path) -> list[str]:
    """Write files of all kinds, good and bad; return their paths and that of the folder."""
    contents = dict(enumerate(picture_files()))
    for number, content in contents.items():
        (folder / f"picture{number}.png").write_bytes(content)
        (folder / f"cut{number}.jpg").write_bytes(content[: len(content) // 2])
    for number, content in enumerate(rasters(folder)):
        (folder / f"raster{number}.tif").write_bytes(content)
    (folder / "pickle.pkl").write_bytes(b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x02os\x94.")
    (folder / "array.npy").write_bytes(b"\x93NUMPY\x01\0v\0{'descr': '|O', 'shape': (1,)}\n")
    (folder / "empty.png").write_bytes(b"")
    (folder / "<script>alert(1)<script>.png").write_bytes(contents[0])
    (folder / "text.tif").write_text("no picture")
    (folder / "words.txt").write_text("a pier\nboats\n")
    good = [str(path) for path in sorted(gallery.glob("*.png"))[:2]]
    return [*good, *map(str, sorted(folder.iterdir())), str(folder)]


def commands(
    place: Path, model: Path, gallery: Path, files: list[str]
) -> SearchStrategy[list[str]]:
    """Good commands with up to three words replaced, left out, or given twice."""
    made = place / "made"
    (place / "plain").write_text("a file")
    index, raster = place / "index", next(name for name in files if name.endswith("raster0.tif"))
    bank = str(place / "files" / "words.txt")
    command_line(["index", "--model", str(model), "--images", str(gallery), "--index", str(index)])
    asked = ["search", "--index", str(index), "--bank", bank]
    common = ["--model", str(model), "--bank", bank]
    good = [
        ["evaluate", *common, "--data", str(gallery.parent), "--split", "test", "--rerank", "smr",
         "--symmetries", "1", "--temperature", "0.1", "--json", "OUT"],
        ["embed", "--model", str(model), "--images", str(gallery), "--output", "OUT", "--workers",
         "0", "--batch-size", "4", "--dtype", "float16", "--symmetries", "1"],
        ["index", "--model", str(model), "--images", str(gallery), "--index", "OUT", "--engine",
         "exact", "--regions", "model"],
        ["index", "--model", str(model), "--rasters", str(place / "files"), "--index", "OUT",
         "--tile", "32", "--overlap", "0.2", "--gsd", "0.5", "--bands", "1"],
        [*asked, "--text", "a block", "--top-k", "3", "--rerank", "mr", "--json", "--threshold",
         "0.5"],
        [*asked, "--text", "a block", "--where", "year=3", "--bbox", "8,53,9,54", "--rerank",
         "match", "--images", str(gallery), "--model", str(model)],
        [*asked, "--image", files[0], "--top-k", "2", "--device", "cpu"],
        ["caption", *common, "--image", files[0], "--top-k", "3", "--rerank", "match"],
        ["scene", *common, "--raster", raster, "--output", "OUT", "--text", "a block", "--tile",
         "32", "--overlap", "0.1", "--gsd", "1", "--bands", "1,2,3", "--top-k", "2", "--heatmap",
         "OUT"],
        ["convert", "--benchmark", "ucm", "--data", str(gallery.parent), "--output", "OUT",
         "--partial", "--format", "imagefolder"],
        ["leakage", f"{gallery.parent}:test", str(gallery)],
        ["card", "--model", str(model), "--results", bank, "--dataset", "ucm=a/b"],
        ["push", "--model", str(model), "--repo", "someone/name", "--revision", "main"],
        ["import-clip", "--weights", str(model / "model.safetensors"), "--output", "OUT",
         "--vocabulary", bank],
    ]  # fmt: skip
    out = st.sampled_from(
        [made / "new", made / "a\0b", made / ("x" * 300), place / "plain",
         place / "plain" / "below", made / "\udcff", place,
         made / "<b>.json", made / "new" / "deep"]
    ).map(str)  # fmt: skip
    word = st.one_of(
        st.sampled_from(NAMES), numbers().map(str), st.sampled_from(files),
        st.sampled_from(["none", "model", "--json", "--unknown", "year=\0", "=", "1,2,3,4"]),
    )  # fmt: skip
    change = st.tuples(st.sampled_from(["put", "put", "put", "drop", "twice"]), st.integers(0, 99))
    changes = st.lists(st.tuples(change, word), max_size=3)
    return st.builds(changed_command, st.sampled_from(good), changes, out)


def changed_command(
    good: list[str], changes: list[tuple[tuple[str, int], str]], out: str
) -> list[str]:
    """Return a command with some of its words changed; what it writes to stays ``out``."""
    words = list(good)
    for (how, place), word in changes:
        at = place % len(words)
        if "OUT" in words[max(at - 1, 0) : at + 2]:  # nothing is written where chance says
            continue
        if how == "drop":
            del words[at]
        elif how == "twice":
            words = words[:at] + words[at : at + 2] + words[at:]
        elif at:
            words[at] = word
    return [out if word == "OUT" else word for word in words]


def runner(place: Path) -> Callable[[list[str]], None]:
    """Return what runs a command in an empty folder of its own."""

    def run(words: list[str]) -> None:
        older = Path.cwd()
        os.chdir(emptied(place / "made"))
        try:
            command_line(words)
        finally:
            os.chdir(older)

    return run


def command_line(words: list[str]) -> None:
    """Run a command in this process as its entry point does.

    Raises:
        Refused: exit code 1 or 2, with words.
        Complaint: another exit code, a traceback, or no words.
    """
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # strict, as a terminal's is
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    older, sys.argv = sys.argv, ["rsctir", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            rsctir()
        code: object = 0
    except SystemExit as left:
        code = left.code or 0
    finally:
        sys.argv = older
    said = err.detach().getvalue().decode()  # type: ignore[attr-defined]
    said += out.detach().getvalue().decode()  # type: ignore[attr-defined]
    if code not in (0, 1, 2) or "Traceback (most recent" in said:
        raise Complaint(f"exit code {code}: {said}")
    if code == 2 and not any(word in said for word in ("error: ", "Error", "Usage: ")):
        raise Complaint(f"exit code 2 without words: {said}")
    if code:
        raise Refused(f"exit code {code}")


def app_targets(place: Path, model: Path, gallery: Path, files: list[str]) -> list[Target]:
    """Return the app's endpoints, called as functions, and all its events, as the page does."""
    os.environ["GRADIO_TEMP_DIR"] = str(place)  # where uploads lie
    galr, bank = save_galr(place / "galr"), place / "files" / "words.txt"
    bench = Workbench(
        AppSettings(model=str(model), region_model=str(galr), gallery=str(gallery), bank=bank)
    )
    bench.retriever()
    until = time.monotonic() + READY_WITHIN
    while not bench.status.over and time.monotonic() < until:
        time.sleep(0.05)
    demo = build_app(bench)
    endpoints = Endpoints(bench)
    path = st.one_of(st.sampled_from(files), texts(), st.none())
    rerank = st.one_of(st.sampled_from(["none", "smr", "mr", "match"]), values())
    many = st.one_of(st.integers(1, 5), numbers(), values())
    calls = st.one_of(
        st.tuples(
            st.just("find_pictures"), st.one_of(texts(), values()), rerank, many, st.booleans()
        ),
        st.tuples(st.just("find_sentences"), path, rerank, many),
        st.tuples(st.just("find_similar_pictures"), path, rerank, many),
        st.tuples(st.just("region_graph"), path),
    )

    def call(given: tuple[Any, ...]) -> None:
        answer = getattr(endpoints, given[0])(*given[1:])
        if str(place) in json.dumps(answer):
            raise Complaint("an answer names a folder of the server")

    return [
        Target("app: endpoints", calls, call, 700, (RsctirError, gr.Error)),
        Target("app: events", events(demo, files), sender(demo, place), 1300, (gr.Error,)),
    ]


def events(demo: gr.Blocks, files: list[str]) -> SearchStrategy[tuple[int, list[Any], Any]]:
    """Number of an event, what comes in each of its inputs, and what was clicked."""
    handled = {number: event for number, event in demo.fns.items() if event.fn and event.targets}
    item = st.one_of(st.integers(0, 3), values())
    clicked = st.one_of(st.builds(lambda each: {"item": each}, item), values())
    return st.sampled_from(sorted(handled)).flatmap(
        lambda number: st.tuples(
            st.just(number),
            st.tuples(*(payloads(each, files) for each in handled[number].inputs)).map(list),
            clicked,
        )
    )


def payloads(component: Any, files: list[str]) -> SearchStrategy[Any]:  # noqa: ANN401
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


def sender(demo: gr.Blocks, place: Path) -> Callable[[tuple[int, list[Any], Any]], None]:
    """Return what sends an event as a page does, all in one visitor's session."""
    session = SessionState(demo)

    def send(event: tuple[int, list[Any], Any]) -> None:
        number, inputs, clicked = event
        block, data = demo.fns[number], gr.EventData(None, clicked)
        try:
            answer = asyncio.run(demo.process_api(block, inputs, state=session, event_data=data))
        except gr.Error as error:
            if passed_through_ours(error):
                look_for_leaks(str(error), place)
            raise
        except Exception as error:
            if passed_through_ours(error):
                raise
            raise Refused(f"by gradio: {error!r}") from error
        for html in shown_html(block, answer["data"]):
            look_for_leaks(html, place)
            if 'role="alert"' in html:
                raise Refused(html)

    return send


def look_for_leaks(shown: str, place: Path) -> None:
    """Raise ``Complaint`` for markup that came from outside, or a folder of the server."""
    if "<script>" in shown or "<img src=x" in shown or str(place) in shown:
        raise Complaint(f"markup or a folder of the server is shown: {shown}")


def shown_html(block: BlockFunction, answers: list[Any]) -> Iterator[str]:
    """Yield the HTML that an event shows."""
    for component, answer in zip(block.outputs, answers, strict=False):
        content = answer.get("value") if isinstance(answer, dict) else answer
        if isinstance(component, gr.HTML) and isinstance(content, str):
            yield content
