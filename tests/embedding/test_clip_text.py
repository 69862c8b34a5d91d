"""Hard texts become the tokens that open_clip's own tokenizer makes of them."""

from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
from torch import nn

from rsctir_hf.embedding import clip_text
from rsctir_hf.embedding.encode import tokenize
from rsctir_hf.loading.open_clip import read_vocabulary

VOCABULARY = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
LONGEST = 24
#: Without ftfy too.
HARD = [
    "",
    "  \t A  River\u00a0 and\n\na BRIDGE ",
    "the city\u2019s harbour, \u201cold\u201d and \u2018new\u2019",
    "rock &amp; sand",
    "rock &amp;amp; sand &lt;b&gt; caf&eacute; &#233; &nbsp;x",
    "isn\u02bct it",
    "50 m\u00b2 of 1\u20442 acres, 3\u00d74",
    "\u65e5\u672c\u306e\u6e2f",
    "\u039f\u0394\u039f\u03a3 \u0130stanbul STRA\u00dfE",
    "it's they're we've I'm he'll she'd 'tis",
    "hashtag#1!!! http://a.b/c?d=e&f=g",
    "\U0001f6f0\ufe0f a dish \u2014 seen \u2026 from above",
    "a " * 40,
    "x" * 300,
]
#: What only ftfy mends.
BROKEN = [
    "caf\u00c3\u00a9 l\u00e2\u20ac\u2122eau",
    "\ufb01elds, \uff26\uff55\uff4c\uff4c width, cafe\u0301",
    "\x1b[1mbold\x1b[0m\u200b text",
]


@pytest.fixture(scope="module")
def processor():
    tokenizer = read_vocabulary(VOCABULARY, size=49408)
    tokenizer.model_max_length = LONGEST
    return SimpleNamespace(tokenizer=tokenizer)


@pytest.fixture(scope="module")
def model():
    model = nn.Module()
    model.config = SimpleNamespace()
    return model


def tokens(model, processor, text):
    return tokenize(model, processor, [text])["input_ids"][0].tolist()


def expected(text):
    row = open_clip.SimpleTokenizer(context_length=LONGEST)(text)[0].tolist()
    return row[: row.index(49407) + 1]  # open_clip fills up with zeros


@pytest.mark.parametrize("text", [*HARD, *BROKEN])
def test_tokens_are_those_of_open_clip(text, model, processor):
    assert tokens(model, processor, text) == expected(text)


@pytest.mark.parametrize("text", HARD)
def test_without_ftfy_quotation_marks_and_entities_are_mended_too(
    text, model, processor, monkeypatch
):
    monkeypatch.setattr(clip_text, "_mend", clip_text.straighten)
    assert tokens(model, processor, text) == expected(text)


def test_texts_of_other_models_stay_as_they_are():
    said = ["A caf&eacute;\u2019s  ROOF"]
    assert clip_text.cleaned(SimpleNamespace(bos_token="[CLS]"), said) == said
    assert clip_text.cleaned(SimpleNamespace(), said) == said
