"""Sentences cleaned as open_clip cleans them before it makes CLIP's tokens.

CLIP was trained on such texts, and transformers' tokenizer of it cleans less: ``Caf&eacute;`` and a
curly apostrophe would be other tokens. Texts of other models stay as they are.
"""

import html
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

#: Begins every text of CLIP's own vocabulary, whichever class reads it.
_START = "<|startoftext|>"


def cleaned(tokenizer: object, texts: Sequence[str]) -> list[str]:
    """Return the texts as CLIP's tokenizer wants them, or as they are for any other."""
    if getattr(tokenizer, "bos_token", None) != _START:
        return list(texts)
    return [clean_for_clip(text) for text in texts]


def straighten(text: str) -> str:
    """Make quotation marks and apostrophes straight, the most frequent of what ftfy mends."""
    return re.sub("[\u201c-\u201f]", '"', re.sub("[\u02bc\u2018-\u201b]", "'", text))


_mend: Callable[[str], str] = import_module("ftfy").fix_text if find_spec("ftfy") else straighten


def clean_for_clip(text: str) -> str:
    """Mend encoding and quotation marks (ftfy where installed), entities, white space and case."""
    return " ".join(html.unescape(html.unescape(_mend(text))).split()).lower()
