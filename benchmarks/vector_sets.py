"""Vectors and queries for ``vector_search.py``: clustered ones, and those of real pictures."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.data.benchmarks import load_captioned_folder
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.pictures import list_images
from rsctir_hf.loading.checks import weights_fingerprint

DIMENSION = 512
CLUSTER_SIZE = 100  # vectors of a cluster, on average
SPREAD = 0.5  # length of the noise against that of the cluster's centre: cosines within of 0.8
_ROWS_AT_ONCE = 50_000
REAL_SETS = ("rsicd_aid", "ucm_captions")  # folders of the development data


@dataclass(frozen=True)
class VectorSet:
    """What an engine is measured with.

    Attributes:
        name: of the set.
        vectors: (n, D) unit vectors.
        queries: (Q, D) unit vectors, none of them among the vectors.
        about: what they are, for the report.
    """

    name: str
    vectors: Tensor
    queries: Tensor
    about: str


def clustered(count: int, *, queries: int, seed: int = 0) -> VectorSet:
    """Draw vectors and queries around the same random centres: image to image, in the ideal."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(1, count // CLUSTER_SIZE), DIMENSION, generator=random)
    parts = [
        _around(centres, min(_ROWS_AT_ONCE, count - first), random)
        for first in range(0, count, _ROWS_AT_ONCE)
    ]
    return VectorSet(
        "clustered",
        torch.cat(parts),
        _around(centres, queries, random),
        f"{len(centres):,} random clusters, cosine 0.8 within, queries from the same",
    )


def real(count: int, *, queries: int, data: Path, model: Path, cache: Path) -> VectorSet:
    """Embed the development pictures, and captions of theirs as queries: text to image.

    Beyond the number of pictures there are, each comes again with noise: a copy lies as far from
    its picture as that lies from its nearest neighbour (in the median over all).
    """
    pictures, captions = _embedded(data, model, cache)
    random = torch.Generator().manual_seed(0)
    asked = captions[torch.linspace(0, len(captions) - 1, queries).long()]
    copies = max(0, count - len(pictures))
    about = f"{min(count, len(pictures)):,} pictures of {' and '.join(REAL_SETS)} by {model.name}"
    if not copies:
        rows = torch.linspace(0, len(pictures) - 1, count).long()
        return VectorSet("real", pictures[rows], asked, f"{about}; queries: captions")
    cosine = _usual_nearest(pictures)
    spread = (1 / cosine**2 - 1) ** 0.5
    parts = [pictures]
    for first in range(0, copies, _ROWS_AT_ONCE):
        rows = torch.arange(first, min(first + _ROWS_AT_ONCE, copies)) % len(pictures)
        parts.append(_jittered(pictures[rows], spread, random))
    padding = f"padded with {copies:,} copies of them at a cosine of {cosine:.2f}"
    about = f"{about}, {padding}; queries: captions"
    return VectorSet("real", torch.cat(parts), asked, about)


def _around(centres: Tensor, count: int, random: torch.Generator) -> Tensor:
    chosen = torch.randint(len(centres), (count,), generator=random)
    noise = torch.randn(count, centres.shape[1], generator=random)
    return F.normalize(centres[chosen] + SPREAD * noise, dim=1)


def _jittered(vectors: Tensor, spread: float, random: torch.Generator) -> Tensor:
    """Add noise of length ``spread`` in a random direction to unit vectors."""
    noise = F.normalize(torch.randn(vectors.shape, generator=random), dim=1)
    return F.normalize(vectors + spread * noise, dim=1)


def _usual_nearest(vectors: Tensor) -> float:
    """Return the median cosine of a vector with the nearest other one."""
    nearest = [
        (block @ vectors.T).topk(2, dim=1).values[:, 1] for block in vectors[:2000].split(500)
    ]
    return float(torch.cat(nearest).median())


def _embedded(data: Path, model: Path, cache: Path) -> tuple[Tensor, Tensor]:
    """Return pictures (n, D) and distinct captions (C, D), both kept for the same weights."""
    loaded = Encoder.from_pretrained(model)
    file = cache / f"real-{weights_fingerprint(loaded.model)}.safetensors"
    if not file.exists():
        files = [path for name in REAL_SETS for path in list_images(data / name)]
        sentences = {
            caption
            for name in REAL_SETS
            for captions in load_captioned_folder(data / name, "validation")["captions"]
            for caption in captions
        }
        pictures = loaded.images(files, progress=_tell).vectors
        captions = loaded.texts(sorted(sentences))
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"pictures": pictures, "captions": captions}, file)
    kept = load_file(file)
    return kept["pictures"], kept["captions"]


def _tell(done: int, total: int) -> None:
    print(f"\rembedding {done} of {total}", end="" if done < total else "\n", flush=True)
