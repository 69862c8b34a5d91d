"""How alike captions are in words: a graded relevance beside "its own caption or not".

After AMFMN (Yuan et al., TGRS 2021), whose released code takes, of a sentence and the sentences of
a picture, the mean of BLEU-4 (1 where the picture has that very sentence) and of the share of the
words of each, stop words left out, that the sentence has too. Ours: Harman's S stemmer
(1991) in the place of Porter's, a shorter list of stop words, and no punctuation among the words.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from rsctir_hf.files.sentences import normalise_caption

ORDER = 4  # BLEU-4
_PICTURES_AT_ONCE = 256
_WORD = re.compile(r"[^\W_]+")
_FUNCTION_WORDS = """
a an the this that these those some any all each every both few many more most several other such no
not only own same so than too very i we you he she it they them its their our and or but if then as
of at by for with about against between into through during before after above below to from up down
in out on off over under again here there when where which who what is are was were be been being
have has had having do does did can could will would should may one
"""

Gram = tuple[str, ...]


def caption_similarity(captions: Sequence[str], owned: Sequence[Sequence[str]]) -> Tensor:
    """Compare sentences with what is said of pictures.

    Args:
        captions: U sentences.
        owned: the sentences of each of B pictures, at least one.

    Returns:
        (B, U) float32, 0..1; 1 where a sentence is the picture's own and has all words of the rest.
    """
    words = [stems(caption) for caption in captions]
    pictures = [[stems(caption) for caption in each] for each in owned]
    parts = [
        (_bleu(words, some) + _overlap(words, some)) / 2
        for some in (pictures[at : at + _PICTURES_AT_ONCE]
                     for at in range(0, len(pictures), _PICTURES_AT_ONCE))
    ]  # fmt: skip
    return torch.cat(parts)


def stems(caption: str) -> Gram:
    """Return the words of a sentence, plurals as singulars."""
    return tuple(map(stem, _WORD.findall(normalise_caption(caption))))


def stem(word: str) -> str:
    """Return a word without its plural: Harman's S stemmer."""
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word[:-1] if word.endswith("s") and not word.endswith(("us", "ss")) else word


STOP_WORDS = frozenset(map(stem, _FUNCTION_WORDS.split()))


def _bleu(sentences: Sequence[Gram], pictures: Sequence[Sequence[Gram]]) -> Tensor:
    """BLEU-4 (B, U) without smoothing, the references being a picture's sentences."""
    total = torch.zeros(len(pictures), len(sentences))
    for n in range(1, ORDER + 1):
        held = [_occurrences(_grams(words, n) for words in each) for each in pictures]
        asked = [_occurrences([_grams(words, n)]) for words in sentences]
        counts = torch.tensor([max(1, len(each)) for each in asked])
        total += (_shared(held, asked) / counts).log() / ORDER  # -inf where nothing is shared
    lengths = torch.tensor([float(len(words)) for words in sentences])
    penalty = torch.stack([_brevity(lengths, map(len, each)) for each in pictures])
    own = torch.tensor([[words in each for words in sentences] for each in pictures])
    return torch.where(own, 1.0, penalty * total.exp())


def _brevity(lengths: Tensor, references: Iterable[int]) -> Tensor:
    """Penalty (U,) of sentences shorter than the reference that is nearest in length."""
    known = torch.tensor(sorted(references), dtype=lengths.dtype)
    nearest = known[(lengths[:, None] - known).abs().argmin(dim=1)]
    return (1 - nearest / lengths.clamp(min=1)).clamp(max=0).exp()


def _overlap(sentences: Sequence[Gram], pictures: Sequence[Sequence[Gram]]) -> Tensor:
    """Mean (B, U) over a picture's sentences of the share of its words that a sentence has."""
    telling = [[w for w in words if w not in STOP_WORDS] for words in sentences]
    weights: list[dict[str, float]] = []
    for each in pictures:
        weight: dict[str, float] = defaultdict(float)
        said = [kept for words in each if (kept := [w for w in words if w not in STOP_WORDS])]
        for kept in said:
            for word in set(kept):
                weight[word] += 1 / len(kept) / len(said)
        weights.append(weight)
    return _shared(weights, [dict.fromkeys(each, 1.0) for each in telling])


def _grams(words: Gram, n: int) -> Counter[Gram]:
    return Counter(words[at : at + n] for at in range(len(words) - n + 1))


def _occurrences(sentences: Iterable[Counter[Gram]]) -> dict[tuple[Gram, int], float]:
    """Name each gram's first, second, ... occurrence: clipped counts are then sets in common."""
    most: Counter[Gram] = Counter()
    for counts in sentences:
        most |= counts
    return {(gram, number): 1.0 for gram, count in most.items() for number in range(count)}


def _shared(held: Sequence[dict], asked: Sequence[dict]) -> Tensor:
    """Sum (B, U) of the products of what both have, by key."""
    keys: dict = {}
    for each in asked:
        for key in each:
            keys.setdefault(key, len(keys))
    left = torch.zeros(len(held), len(keys))
    for row, each in enumerate(held):
        known = {keys[key]: value for key, value in each.items() if key in keys}
        left[row, list(known)] = torch.tensor(list(known.values()))
    rows = torch.tensor([at for at, each in enumerate(asked) for _ in each], dtype=torch.int64)
    columns = torch.tensor([keys[key] for each in asked for key in each], dtype=torch.int64)
    values = torch.tensor([value for each in asked for value in each.values()])
    right = torch.sparse_coo_tensor(
        torch.stack([rows, columns]), values, (len(asked), len(keys)), check_invariants=False
    )
    return torch.sparse.mm(right, left.T.contiguous()).T  # (B, U)
