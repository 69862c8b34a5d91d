"""Which captions are kept, and when two of them are the same sentence.

The benchmarks repeat sentences: in UCM-Captions 10,500 captions are 2,032 distinct ones. Batches,
false-negative masks, the leakage report, the metrics and the caption bank all need one answer to
"is it the same sentence", and this is it.
"""

import re
from collections.abc import Iterable, Sequence

_SPACES = re.compile(r"\s+")
_SPACE_BEFORE_STOP = re.compile(r"\s+([.,;:!?])")


def normalise_caption(caption: str) -> str:
    """Bring a caption to the form in which it is compared.

    Case, runs of white space, white space before punctuation and a final full stop make no
    difference: the releases write ``There is a piece of farmland .`` A caption of nothing but
    full stops is its own form.
    """
    text = _SPACES.sub(" ", caption).strip().casefold()
    return _SPACE_BEFORE_STOP.sub(r"\1", text).rstrip(" .") or text


def sound_captions(captions: Iterable[str]) -> tuple[str, ...]:
    """Return captions without white space around them, blank ones left out.

    JSON may hold half of a surrogate pair, which no tokenizer takes; it becomes a question mark.
    """
    kept = (caption.encode(errors="replace").decode().strip() for caption in captions)
    return tuple(caption for caption in kept if caption)


def number_captions(caption_sets: Iterable[Sequence[str]]) -> tuple[list[list[int]], int]:
    """Number the distinct sentences of a data set.

    Args:
        caption_sets: the captions of each picture.

    Returns:
        For each picture the sorted numbers of its distinct sentences, and how many distinct
        sentences there are in all.
    """
    numbers: dict[str, int] = {}
    rows = [
        sorted({numbers.setdefault(normalise_caption(text), len(numbers)) for text in captions})
        for captions in caption_sets
    ]
    return rows, len(numbers)
