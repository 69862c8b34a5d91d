"""Pushing a model folder to the Hub."""

import logging
from pathlib import Path

from huggingface_hub import HfApi

from rsctir_hf.errors import ModelLoadError
from rsctir_hf.hub.card import CARD_FILE
from rsctir_hf.loading.hub_files import ADAPTER, ADAPTER_FILES, ModelFiles, check_model_files
from rsctir_hf.loading.push_errors import explained_push

logger = logging.getLogger(__name__)

#: What a training run leaves beside a model and nobody wants to download; the page of a run shows
#: pictures of the user's, which are nobody else's until they say so.
IGNORE_PATTERNS = [
    "report.html",
    "checkpoint-*/**",
    "_*/**",
    "runs/**",
    "*.part",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state*",
    "training_args.bin",
    "__pycache__/**",
    ".git/**",
]


def push_model(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a model folder as it stands, in one commit; the repository is made if need be.

    Args:
        folder: holds the model, its processor and a filled ``README.md``.
        repo_id: ``OWNER/NAME`` on the Hub.
        private: make a new repository private.
        revision: branch to commit to; default: the main one. A new branch is made.
        token: of the Hub; default: the one that is logged in.

    Returns:
        The address of the commit.

    Raises:
        ModelLoadError: the folder does not hold a model.
        PushError: no token, no right to write, a malformed name, or the Hub cannot be reached.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelLoadError(f"{path} is not a folder. Give the folder that holds the model.")
    what = ADAPTER if (path / ADAPTER_FILES[0]).is_file() else "model"
    check_model_files(ModelFiles(str(path), path), what=what)
    if not (path / CARD_FILE).is_file():
        logger.warning("%s has no %s: the repository will have no model card", path, CARD_FILE)
    api = HfApi(token=token)
    with explained_push(str(path), repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            folder_path=path,
            repo_id=repo_id,
            revision=revision,
            commit_message=f"Upload {path.resolve().name}",
            ignore_patterns=IGNORE_PATTERNS,
        )
    return commit.commit_url
