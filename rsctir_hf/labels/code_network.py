"""One code for pictures and for sets of labels, after CMIR-NET (Chaudhuri et al., 2020).

CMIR-NET brings two modalities into one code by three terms: each code tells which labels hold, the
codes of a pair are near, and from the code of one modality the other can be made again. Ours: the
first modality is the vector that an image tower makes, the second the set of labels itself, as
zeros and ones. The weights are those of the released code for pictures and speech, the
reconstruction is the crossed one of its other experiment, and sigmoids tell labels on both sides.
A picture's code is one linear layer on its vector (our choice): what one label looks for is then
one direction, along which any index engine can search.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

#: Least numbers of a code; the released code has 128 and 64. L labels, each told along a direction,
#: take no more than L, and a file of so few is small (our choice).
CODE = 24


@dataclass(frozen=True)
class TermWeights:
    """How much each term counts.

    Attributes:
        labels: telling the labels from either code.
        distance: of the codes of a picture and its labels.
        picture_again: the picture's vector from the code of its labels.
        labels_again: the labels from the picture's code.
    """

    labels: float = 1.0
    distance: float = 0.001
    picture_again: float = 0.001
    labels_again: float = 0.01


class LabelCoder(nn.Module):
    """Codes of pictures and of sets of labels, and the labels that a code tells.

    Args:
        dim: D numbers of a picture's vector.
        labels: L of them.
        code: K numbers of a code; None: ``CODE``, or as many as there are labels.
    """

    def __init__(self, dim: int, labels: int, *, code: int | None = None) -> None:
        super().__init__()
        code = code or max(CODE, labels)
        self.picture = nn.Linear(dim, code)
        self.labels = nn.Sequential(nn.Linear(labels, code), nn.ReLU(), nn.Linear(code, code))
        self.classes = nn.Linear(code, labels)

    def picture_codes(self, vectors: Tensor) -> Tensor:
        """Return the codes (B, K) of unit vectors (B, D)."""
        return self.picture(of_unit_size(vectors))


class LabelCodeLoss(nn.Module):
    """What a coder learns from; the parts that make each modality again serve nothing else.

    Args:
        coder: that learns.
        weights: of the terms.
    """

    def __init__(self, coder: LabelCoder, weights: TermWeights | None = None) -> None:
        super().__init__()
        code, dim = coder.picture.weight.shape
        self.coder, self.weights = coder, weights or TermWeights()
        self.picture_again = nn.Linear(code, dim)
        self.labels_again = nn.Linear(code, coder.classes.out_features)

    def forward(self, vectors: Tensor, shown: Tensor) -> Tensor:
        """Return the loss, a scalar, of unit vectors (B, D) and their labels (B, L) of 0 and 1."""
        pictures, sets = self.coder.picture_codes(vectors), self.coder.labels(shown)  # (B, K)
        told = [
            F.binary_cross_entropy_with_logits(self.coder.classes(codes), shown, reduction="sum")
            for codes in (pictures, sets)
        ]
        return (
            self.weights.labels * sum(told) / len(shown)
            + self.weights.distance * _squared(pictures - sets)
            + self.weights.picture_again
            * _squared(of_unit_size(vectors) - self.picture_again(sets))
            + self.weights.labels_again * _squared(shown - self.labels_again(pictures))
        )


def of_unit_size(vectors: Tensor) -> Tensor:
    """Return unit vectors (B, D) with numbers of about size one, from which layers learn faster."""
    return vectors * vectors.shape[-1] ** 0.5


def _squared(differences: Tensor) -> Tensor:
    """Return the mean over a batch of squared distances."""
    return differences.square().sum(dim=1).mean()
