"""A launch from start to ready, and what goes wrong on the way."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rsctir_hf.errors import (
    DataLayoutError,
    ImageReadError,
    ModelLoadError,
    QueryError,
    UnsupportedError,
)
from rsctir_hf.hub.space import HUB_GALLERY
from rsctir_hf.search.confidence import WORDS, ScoreScale
from rsctir_hf.search.gallery import PictureNotes
from rsctir_hf.search.retriever import confidence
from rsctir_hf.ui.server import workbench
from rsctir_hf.ui.server.kept_gallery import spread
from rsctir_hf.ui.server.own_pictures import index_own_pictures
from rsctir_hf.ui.server.shown_gallery import open_gallery
from rsctir_hf.ui.server.uploads import read_upload
from rsctir_hf.ui.server.workbench import Phase, Status, Workbench
from rsctir_hf.ui.views.header import header
from tests.ui.bad_uploads import png_of
from tests.ui.conftest import wait_until_over
from tests.ui.tiny_models import BANK, PICTURES


def test_a_ready_launch_lists_the_pictures_it_skipped(bench):
    assert bench.status.phase is Phase.READY
    assert bench.status.done == PICTURES
    assert [Path(skip.path).name for skip in bench.status.skipped] == ["aa_broken.png"]
    shown = header(bench)
    assert "1 picture was left out" in shown
    assert "aa_broken.png" in shown
    assert str(Path(bench.settings.gallery).parent) not in shown


@pytest.mark.parametrize("cache", [True, False])
def test_hits_are_judged_once_all_is_indexed_and_not_before(settings, cache, monkeypatch):
    scale = ScoreScale(-2.0, -1.0, WORDS)
    monkeypatch.setattr("rsctir_hf.search.session.score_scale", lambda *_: scale)
    bench, seen = Workbench(replace(settings, cache=cache)), []

    def index_gallery(retriever, gallery, **options):
        made = workbench_index(retriever, gallery, **options)
        retriever.add(retriever.engine.vectors_of([0]), gallery.paths[:1], PictureNotes.of(1))
        seen.append(confidence(retriever.search(BANK[0])))
        return made

    workbench_index = workbench.index_gallery
    monkeypatch.setattr(workbench, "index_gallery", index_gallery)
    bench.start()
    wait_until_over(bench)
    assert (*seen, confidence(bench.retriever().search(BANK[0]))) == (None, "fits")


@pytest.mark.parametrize(
    "change", [{"model": "no/such/model"}, {"gallery": "missing"}, {"bank": Path("none.txt")}]
)
def test_a_launch_that_fails_says_why_and_keeps_the_page(settings, change):
    bench = Workbench(replace(settings, **change))
    with pytest.raises(ModelLoadError) as caught:
        bench.retriever()
    wait_until_over(bench)
    assert bench.status.phase is Phase.FAILED
    assert str(caught.value) == bench.status.message
    assert str(*change.values()).rsplit("/")[-1] in bench.status.message
    assert 'role="alert"' in header(bench)


def test_an_unforeseen_error_is_told_too(settings):
    def explode(*_, **__):
        raise ZeroDivisionError("boom")

    bench = Workbench(settings, load=explode)
    with pytest.raises(ModelLoadError, match="ZeroDivisionError: boom"):
        bench.retriever()


END_DURING_A_STEP = """
import sys, threading, time
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from rsctir_hf.ui.server.settings import parse_settings
from rsctir_hf.ui.server.workbench import Workbench
at_work = threading.Event()
def load(*_, **__):
    at_work.set()
    time.sleep(1)
    print("the step is over", flush=True)
    with ThreadPoolExecutor() as pool:
        pool.submit(print, "another step")
Workbench(parse_settings(sys.argv[1:], {}, root=Path()), load=load).start()
at_work.wait()
"""


@pytest.mark.slow
def test_a_program_that_ends_while_it_prepares_lets_the_step_at_work_end(launch_flags):
    done = subprocess.run(
        [sys.executable, "-c", END_DURING_A_STEP, *launch_flags], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "the step is over\n")
    assert "Traceback" not in done.stderr


def test_a_search_does_not_wait_for_ever(settings):
    bench = Workbench(settings)
    bench.start = lambda: None  # never begins
    with pytest.raises(QueryError, match="still loading"):
        bench.retriever(patience=0.01)


def test_the_state_of_indexing_is_said_with_count_and_time(bench):
    waiting = Workbench(bench.settings)
    waiting.status = Status(Phase.INDEXING, done=40, total=200, seconds_left=12.3)
    assert "40 of 200 pictures can be searched, about 10 s left" in header(waiting)


def test_region_graphs_come_from_the_second_model_where_the_first_has_none(bench):
    assert bench.region_retriever() is not bench.retriever()
    assert bench.region_retriever() is bench.region_retriever()


def test_without_a_region_model_the_remedy_is_named(bench):
    alone = Workbench(replace(bench.settings, region_model=None))
    with pytest.raises(UnsupportedError, match="--region-model"):
        alone.region_retriever()


def test_a_visitor_s_pictures_are_indexed_apart_from_the_gallery(bench):
    uploads = [str(path) for path in bench.gallery.paths[:4]]
    before = len(bench.retriever())
    own = index_own_pictures(bench, uploads)
    assert (own.indexed, len(own.skipped)) == (3, 1)
    assert own.retriever._bank is bench.retriever()._bank  # embedded once for all visitors
    assert len(bench.retriever()) == before
    assert "3 pictures of yours can be searched. Left out: aa_broken.png" in own.in_words()


def test_too_many_pictures_of_one_s_own_are_refused(bench):
    with pytest.raises(QueryError, match="--gallery FOLDER"):
        index_own_pictures(bench, ["x.png"] * 201)


def test_files_that_are_no_uploads_are_not_added(bench):
    with pytest.raises(QueryError, match="upload"):
        index_own_pictures(bench, [str(bench.gallery.paths[0]), "/etc/hostname"])


def test_the_first_pictures_to_be_indexed_span_the_gallery():
    assert spread(range(200))[:3] == [0, 10, 20]
    assert sorted(spread(range(203))) == list(range(203))


def test_comments_of_a_bank_are_no_sentences(settings, tmp_path):
    (tmp_path / "bank.txt").write_text("# mine\na pier\n\n# more\na river\n")
    bench = Workbench(replace(settings, bank=tmp_path / "bank.txt"))
    assert bench.retriever().bank == ("a pier", "a river")


def test_a_gallery_of_which_nothing_can_be_read_is_told(settings, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    bench = Workbench(replace(settings, gallery=str(tmp_path)))
    bench.start()
    wait_until_over(bench)
    assert bench.status.phase is Phase.FAILED
    assert "None of the 2 pictures" in bench.status.message
    assert "a.png" in header(bench)


def test_a_gallery_of_a_space_that_cannot_be_loaded_gives_way_to_the_drawn_scenes(
    settings, monkeypatch
):
    opened = []

    def open_or_refuse(source, *, split="test"):
        opened.append(source)
        if source == HUB_GALLERY:
            raise DataLayoutError("offline")
        return replace(open_gallery(settings.gallery), drawn=True)

    monkeypatch.setattr(workbench, "open_gallery", open_or_refuse)
    bench = Workbench(replace(settings, gallery=HUB_GALLERY, fall_back=True))
    bench.retriever()
    wait_until_over(bench)
    assert bench.status.phase is Phase.READY
    assert opened == [HUB_GALLERY, "sample"]
    assert "arampacha/rsicd could not be loaded" in header(bench)
    assert f"{PICTURES + 1} drawn scenes" in header(bench)


def test_a_bomb_among_one_s_own_pictures_is_left_out_by_its_header(bench, tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of(7_000, 7_000))
    own = index_own_pictures(bench, [str(bench.gallery.paths[1]), str(bomb)])
    assert own.indexed == 1
    assert (
        "Left out: bomb.png is too large: 7000 x 7000 pixels. Expected at most 40 million"
        in own.in_words()
    )


def test_a_bomb_given_as_a_picture_is_refused_by_its_header(bench, tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of(7_000, 7_000))
    with pytest.raises(ImageReadError, match=r"7000 x 7000 pixels.*at most 40 million"):
        read_upload(str(bomb))
