"""The pages in docs/: their snippets run, their commands exist, and nothing is left out of them."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rsctir_hf.sample import sample_folder
from tests.conftest import ROOT

pytest.importorskip("rasterio", reason="a page searches a raster; it needs the extra 'geo'")

from tests.geo.rasters import write

DOCS = ROOT / "docs"
TASKS = sorted((DOCS / "tasks").glob("*.md"))
RUN_ELSEWHERE = "fine_tune"  # with its commands, by tests/loopback_hub/test_own_captions.py
LINKED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *TASKS]
MOST_WORDS = 1500
MOST_BYTES = 400_000  # of the picture of the app


def text_of(file):
    return file.read_text(encoding="utf-8")


NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n```python\n.*?```\n", re.DOTALL)


def snippets(file):
    """The Python of a page, without what a comment in front of it leaves out with a reason."""
    return python_of(NOT_RUN.sub("", text_of(file)))


def python_of(text):
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def town(file):
    """A raster of four drawn scenes at 0.3 m a pixel."""
    pictures = sorted(sample_folder().glob("*.jpg"))[:4]
    sides = [np.asarray(Image.open(each).convert("RGB").resize((256, 256))) for each in pictures]
    mosaic = np.concatenate([np.concatenate(sides[:2]), np.concatenate(sides[2:])], axis=1)
    write(file, np.ascontiguousarray(mosaic.transpose(2, 0, 1)))


@pytest.mark.slow
def test_the_snippets_of_readme_and_task_pages_run_as_they_stand(tmp_path, all_checkpoints):
    for name in ("checkpoints", "model_cards"):
        (tmp_path / name).symlink_to(ROOT / name)
    pictures = sorted(sample_folder().glob("*.jpg"))[:4]
    for folder in (tmp_path / "my_pictures", tmp_path / "folder" / "of" / "pictures"):
        folder.mkdir(parents=True)
        for picture in pictures:
            shutil.copy(picture, folder)
    shutil.copy(pictures[0], tmp_path / "picture.jpg")
    shutil.copy(pictures[1], tmp_path / "other.jpg")
    town(tmp_path / "town.tif")
    pages = [ROOT / "README.md", *(page for page in TASKS if page.stem != RUN_ELSEWHERE)]
    code = "\n".join(f"print('== {page.stem}')\n{snippets(page)}" for page in pages)
    path = f"import sys; sys.path[:0] = ['', {str(ROOT)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", path + code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert re.findall("^== (.+)$", done.stdout, re.MULTILINE) == [page.stem for page in pages]


@pytest.mark.parametrize("page", [ROOT / "README.md", *TASKS], ids=lambda page: page.stem)
def test_every_snippet_is_python_and_one_left_out_says_why(page):
    compile(python_of(text_of(page)), page.name, "exec")
    reasons = NOT_RUN.findall(text_of(page))
    assert len(reasons) == text_of(page).count("not run:")
    assert all(len(reason.split()) > 3 for reason in reasons)


def test_versions_are_of_before_for_as_long_as_their_file_names_no_revision():
    found = json.loads(text_of(ROOT / "results" / "versions.json"))
    page = text_of(DOCS / "versions.md")
    assert ("The file names no revision" in page) == ("git_revision" not in found), (
        "measured anew: take the paragraph on the old figures off docs/versions.md"
    )
    if "tests" in found["newest"]:
        assert all(
            name.rsplit("/")[-1].removesuffix(".py") in page for name in found["newest"]["tests"]
        )


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.stem)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page))
    own = [link for link in links if "://" not in link]
    assert not [link for link in own if not (page.parent / link).exists()]


def test_every_page_is_on_the_site():
    listed = re.findall(r"^([a-z_/]+)$", text_of(DOCS / "index.md"), re.MULTILINE)
    pages = {f.relative_to(DOCS).with_suffix("").as_posix() for f in (*DOCS.glob("*.*"), *TASKS)
             if f.suffix in (".md", ".rst")}  # fmt: skip
    assert set(listed) == pages - {"index"}


def test_every_recipe_is_listed_with_what_it_is():
    listed = re.findall(r"^\| `(\S+\.yaml)` \| [\w`]", text_of(DOCS / "recipes.md"), re.MULTILINE)
    recipes = ROOT / "training" / "recipes"
    files = [file.relative_to(recipes).as_posix() for file in recipes.rglob("*.yaml")]
    assert sorted(listed) == sorted(files)


def test_the_readme_is_short_and_its_picture_small():
    words = text_of(ROOT / "README.md").split("---\n", 2)[2].split()
    assert len(words) <= MOST_WORDS
    assert (DOCS / "app.png").stat().st_size < MOST_BYTES


def test_the_readme_keeps_its_order():
    order = ["```bash", "docs/app.png", "## What it is", "## Python", "## Map", "## Command line"]
    order += ["## Scenes", "## Hub and Space", "## Training", "## Results", "## Licences"]
    places = [text_of(ROOT / "README.md").find(each) for each in [*order, "## Citation"]]
    assert -1 not in places and places == sorted(places)
