"""Search by labels of what pictures show: ``ship and dock and not sand``."""

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import ModelLoadError, QueryError
from rsctir_hf.labels.expression import LabelQuery, any_spelling, read_labels
from rsctir_hf.labels.label_head import LabelHead, head_beside
from rsctir_hf.loading.hub_files import find_model_files
from rsctir_hf.search.folding import TILES
from rsctir_hf.search.gallery import PictureGallery
from rsctir_hf.search.hits import Hit
from rsctir_hf.search.query import check_top_k
from rsctir_hf.search.session import SearchSession
from rsctir_hf.vector_index.contract import SearchFilter

_NEAREST = 3  # labels that are offered for an unknown word


class LabelSearch:
    """Finds pictures of one gallery by labels, with a label head of its model.

    Args:
        encoder: the model, beside which a head may lie.
        gallery: the pictures.
        session: answers over the gallery.
    """

    def __init__(self, encoder: Encoder, gallery: PictureGallery, session: SearchSession) -> None:
        self._encoder = encoder
        self._gallery = gallery
        self._session = session
        self._fold = TILES
        self._own: LabelHead | None = None

    def folding(self, fold: str) -> "LabelSearch":
        """Return a search on the same gallery that folds hits; see ``Retriever.folding``."""
        other = copy(self)
        other._fold = fold
        return other

    def head(self, named: str | Path | LabelHead | None = None) -> LabelHead:
        """Return a label head of this model: the one that is named, or the one beside the model.

        Raises:
            QueryError: there is none, or it is damaged.
            IndexMismatchError: it is of another model.
        """
        if named is None:
            found = self._own = self._own or self._beside()
        else:
            found = named if isinstance(named, LabelHead) else LabelHead.load(named)
        found.check_model(self._encoder.made_by)
        return found

    def read(self, labels: str, head: str | Path | LabelHead | None = None) -> LabelQuery:
        """Read what is asked for; raises as ``find`` does."""
        known = self.head(head).labels
        return read_labels(labels, known, nearest=partial(self._nearest, known))

    def find(
        self,
        labels: str,
        *,
        head: str | Path | LabelHead | None = None,
        top_k: int = 5,
        only: SearchFilter | None = None,
    ) -> list[Hit]:
        """Find pictures by what they show.

        Args:
            labels: such as ``ship and dock and not sand``, with ``or`` and brackets.
            head: a file, or what it holds; default: the one beside the model.
            top_k: how many hits.
            only: which pictures may be found.

        Returns:
            At most ``top_k`` hits, best first; ``score`` is how likely a picture fulfils it, 0..1.

        Raises:
            QueryError: nothing indexed; no head; an expression that is broken, names an unknown
                label or contradicts itself.
            IndexMismatchError: the head is of another model.
            IndexUnavailableError: the server that keeps the index does not answer.
        """
        check_top_k(top_k)
        if len(self._gallery) == 0:
            raise QueryError("Nothing is indexed yet. Index a folder of pictures first.")
        found, query = self.head(head), self.read(labels, head)
        return self._session.likely(
            partial(_likelihood, found, query),
            directions=_directions(found, query),
            top_k=top_k,
            only=only,
            fold=self._fold,
        )

    def _beside(self) -> LabelHead:
        """Read the head that lies beside the model, in its folder or on the Hub."""
        name = self._encoder.id
        found = None
        with suppress(ModelLoadError):  # it has no name, or cannot be reached any more
            found = head_beside(find_model_files(name, revision=self._encoder.revision).folder)
        if found is None:
            raise QueryError(
                f"No label head lies beside the model {name or '(unnamed)'}. Make one from "
                "labelled pictures, 'rsctir fit-labels --model MODEL --data FOLDER --output "
                "FILE.safetensors', and name it: --label-head FILE.safetensors (head= in Python)."
            )
        return found

    def _nearest(self, known: Sequence[str], said: str) -> list[str]:
        """Return the labels nearest in meaning to a word, as the model sees it."""
        vectors = self._encoder.texts([said, *map(any_spelling, known)])
        best = (vectors[1:] @ vectors[0]).topk(min(_NEAREST, len(known))).indices
        return [known[place] for place in best.tolist()]


def _likelihood(head: LabelHead, query: LabelQuery, vectors: Tensor) -> Tensor:
    """Return how likely pictures (G, D) fulfil a query, (G,)."""
    shown = head.likelihoods(vectors)
    return query.likelihood({name: shown[:, head.labels.index(name)] for name in query.names})


def _directions(head: LabelHead, query: LabelQuery) -> Tensor:
    """Return the directions (Q, D) along which candidates lie: all together, then each label.

    An approximate engine looks along each of them; what is far along none fulfils nothing.
    """
    signs = torch.tensor([1.0 if wanted else -1.0 for _, wanted in query.literals])
    each = signs[:, None] * head.directions([name for name, _ in query.literals])
    together = F.normalize(each.sum(dim=0, keepdim=True), dim=1)
    return torch.cat([together, each]) if together.norm() > 0.5 else each
