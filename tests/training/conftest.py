"""What the tests of both Trainers and both doors share."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import filter_repo_objects

from rsctir_hf.embedding.encoder import Encoder
from tests.tiny_training import tiny_processor, tiny_rows


@pytest.fixture(scope="module")
def rows():
    return tiny_rows()


@pytest.fixture(scope="module")
def processor(rows):
    return tiny_processor(rows)


@pytest.fixture
def tiny_clip(tiny_clip):
    """One of its own for each test, since these change weights and configuration."""
    return copy.deepcopy(tiny_clip)


@pytest.fixture
def tiny_encoder(tiny_clip, tiny_clip_processor):
    return Encoder(tiny_clip, tiny_clip_processor)


@pytest.fixture
def uploads(monkeypatch):
    """Repository and the paths of each upload to a Hub that takes everything."""
    made = []

    class Api:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, **options):
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, folder_path, repo_id, ignore_patterns, **options):
            paths = (path for path in Path(folder_path).rglob("*") if path.is_file())
            names = (path.relative_to(folder_path).as_posix() for path in paths)
            made.append((repo_id, set(filter_repo_objects(names, ignore_patterns=ignore_patterns))))
            return SimpleNamespace(commit_url="https://hub/commit")

    for place in ("transformers.trainer.hf_api", "rsctir_hf.hub.push.HfApi"):
        monkeypatch.setattr(place, Api)
    return made
