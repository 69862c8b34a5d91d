"""What the tests of both Trainers and both doors share."""

from pathlib import Path

import pytest

from tests.tiny_training import tiny_processor, tiny_rows


@pytest.fixture(scope="module")
def rows():
    return tiny_rows()


@pytest.fixture(scope="module")
def processor(rows):
    return tiny_processor(rows)


@pytest.fixture
def uploads(monkeypatch):
    """Repository, message and file names of each upload to a Hub that takes everything."""
    made = []

    class Api:
        def create_repo(self, repo_id, **options):
            return type("Url", (), {"repo_id": repo_id})()

        def upload_folder(self, *, folder_path, repo_id, commit_message, **options):
            files = {path.name for path in Path(folder_path).iterdir() if path.is_file()}
            made.append((repo_id, commit_message, files))

    monkeypatch.setattr("transformers.trainer.hf_api", Api)
    return made
