"""The snippets of the shipped cards, run as a reader would run them."""

import re
import shutil
import subprocess
import sys

import pytest

from rsctir_hf.sample import sample_folder
from tests.test_checkpoints import DETECTOR, FAMILIES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", FAMILIES)
def test_the_snippets_of_a_card_run_as_they_stand(name, checkpoint, tmp_path):
    folder = checkpoint(name)
    snippets = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert len(snippets) >= 2
    (tmp_path / "checkpoints").symlink_to(folder.parent)
    (tmp_path / name).symlink_to(folder)  # what the snippets call the model
    pictures = sorted(sample_folder().glob("*.jpg"))[:3]
    gallery = tmp_path / "folder" / "of" / "pictures"
    gallery.mkdir(parents=True)
    for picture in pictures:
        shutil.copy(picture, gallery)
    (tmp_path / "picture.jpg").symlink_to(pictures[0])
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    hits = re.findall(r"^\d+ -?\d\.\d{3} ", done.stdout, re.M)
    assert len(hits) == (0 if name == DETECTOR else len(pictures))
