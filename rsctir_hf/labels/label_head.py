"""A label head: what turns a model's vectors into codes and likely labels, kept in one small file.

It is fitted on labelled pictures (``label_fitting``) and knows the labels by name, the model whose
vectors it reads, and what it reached. The file is safetensors in half precision with that in its
header; beside a model, as ``labels.safetensors``, it goes along with the model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.embedding.provenance import Provenance, read_provenance
from rsctir_hf.errors import IndexMismatchError, QueryError
from rsctir_hf.files.atomic import parse_json, write_atomically
from rsctir_hf.labels.code_network import LabelCoder
from rsctir_hf.loading.hub_files import LABELS_FILE

VERSION = 1
_SAID = "label_head"
_AT_ONCE = 16_384  # pictures


@dataclass(frozen=True, eq=False)
class LabelHead:
    """Codes and likely labels of one model's pictures.

    Attributes:
        labels: L names.
        coder: of so many labels.
        made_by: the model whose vectors it reads.
        learnt_from: how many pictures, and what was reached on validation, for people.
    """

    labels: tuple[str, ...]
    coder: LabelCoder
    made_by: Provenance
    learnt_from: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{len(self.labels)} labels: {', '.join(self.labels)}"

    @torch.inference_mode()
    def likelihoods(self, vectors: Tensor) -> Tensor:
        """Return how likely pictures (G, D) show each label, (G, L) float64 from 0 to 1."""
        parts = vectors.split(_AT_ONCE)
        return torch.cat(
            [self.coder.classes(self.codes(each)).double() for each in parts]
        ).sigmoid()

    @torch.inference_mode()
    def codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (G, K) of pictures (G, D)."""
        return self.coder.picture_codes(vectors.float())

    @torch.inference_mode()
    def code_of(self, names: Sequence[str]) -> Tensor:
        """Return the code (K,) of a set of labels; that of a picture which shows these is near."""
        shown = torch.tensor([float(label in names) for label in self.labels])
        return self.coder.labels(shown)

    def directions(self, names: Sequence[str]) -> Tensor:
        """Return the vectors (n, D) of unit length along which pictures show each label more."""
        rows = [self.labels.index(name) for name in names]
        found = self.coder.classes.weight[rows] @ self.coder.picture.weight
        return F.normalize(found.detach(), dim=1)

    def check_known(self, labels: Sequence[str]) -> None:
        """Refuse labels that it does not know.

        Raises:
            QueryError: names them.
        """
        if unknown := [label for label in labels if label not in self.labels]:
            raise QueryError(
                f"The label head does not know {', '.join(unknown)}; it knows "
                f"{', '.join(self.labels)}. Take one that was fitted on these labels."
            )

    def check_model(self, here: Provenance) -> None:
        """Refuse vectors of another model.

        Raises:
            IndexMismatchError: names both models and how to fit a head for the one at hand.
        """
        if not self.made_by.same_model(here):
            raise IndexMismatchError(
                f"The label head was fitted on vectors of {self.made_by}; the model at hand is "
                f"{here}. Fit one for it: 'rsctir fit-labels --model {here.model_id or 'MODEL'} "
                "--data FOLDER --output FILE.safetensors'."
            )

    def save(self, file: str | Path) -> None:
        """Write the head, whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        said = {
            "version": VERSION,
            "labels": self.labels,
            "made_by": asdict(self.made_by),
            "learnt_from": dict(self.learnt_from),
        }
        weights = {name: each.half().contiguous() for name, each in self.coder.state_dict().items()}
        write_atomically(Path(file), save(weights, {_SAID: json.dumps(said)}))

    @classmethod
    def load(cls, file: str | Path) -> "LabelHead":
        """Read what ``save`` wrote.

        Raises:
            QueryError: there is no such file, it is no label head, damaged, or of a later version.
        """
        try:
            with safe_open(file, "pt") as opened:
                said = parse_json((opened.metadata() or {}).get(_SAID, "null"))
                weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise QueryError(
                f"There is no label head {file}. 'rsctir fit-labels' makes one from labelled "
                "pictures."
            ) from error
        except (OSError, SafetensorError, ValueError) as error:
            raise _damaged(file, error) from error
        if not isinstance(said, Mapping):
            raise _damaged(file, "it names no labels")
        if said.get("version") != VERSION:
            raise QueryError(
                f"The label head {file} has version {said.get('version')!r}; this program reads "
                f"version {VERSION}. Update the program that is older."
            )
        try:
            labels = tuple(str(name) for name in said["labels"])
            made_by = read_provenance(said["made_by"], file)
            return cls(labels, _coder(weights, len(labels)), made_by, dict(said["learnt_from"]))
        except (KeyError, TypeError, ValueError, RuntimeError, IndexMismatchError) as error:
            raise _damaged(file, error) from error


def head_beside(model: str | Path) -> LabelHead | None:
    """Return the head that lies in a model's folder, or None.

    Raises:
        QueryError: it is damaged.
    """
    file = Path(model) / LABELS_FILE
    return LabelHead.load(file) if file.is_file() else None


def _coder(weights: Mapping[str, Tensor], labels: int) -> LabelCoder:
    """Return a coder with these weights.

    Raises:
        KeyError, RuntimeError, ValueError: they do not fit together, or are no numbers.
    """
    code, dim = weights["picture.weight"].shape
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise ValueError("some weights are no numbers")
    coder = LabelCoder(dim, labels, code=code)
    coder.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return coder


def _damaged(file: str | Path, why: object) -> QueryError:
    return QueryError(
        f"{file} is no label head, or damaged ({why}). Expected a file that 'rsctir fit-labels' "
        "wrote."
    )
