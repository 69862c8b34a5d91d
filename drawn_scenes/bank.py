"""The caption bank: plain sentences about aerial pictures, to rank for a picture.

The bank answers "which words fit this picture?" and stands in for other queries when one query is
reranked. ``caption_bank.txt`` beside this file is written by ``build_bank``; any text file with one
sentence a line can replace it.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from drawn_scenes.bank_topics import TOPICS, Topic
from rsctir_hf.sample import BANK_FILE

SENTENCES_PER_TOPIC = 30
BANK_SEED = 20240

HEADER = """\
# Caption bank of rsctir_hf: one sentence a line, lines that begin with # are comments.
# Written by drawn_scenes/bank.py from a grammar of our own; no data set was copied.
# Replace this file, or pass another to read_caption_bank(path), to rank sentences of your own.
"""

PLACE_FORMS = (
    "There is {a_adj} in the picture.",
    "The picture shows {a_adj}.",
    "{A_adj} can be seen.",
    "We are looking down on {a_adj}.",
)
BESIDE_FORMS = (
    "{A_adj} is next to {beside}.",
    "There is {a_place} near {beside}.",
    "{A_place} lies beside {beside}.",
    "{A_adj} with {beside} on one side.",
)
THING_FORMS = (
    "There are {amount} {things} {state}.",
    "{Amount} {things} are {state}.",
    "{Amount} {things} can be seen {state}.",
)
JOINT_FORMS = (
    "{A_place} with {amount} {things} near {beside}.",
    "{A_adj} with {amount} {things}.",
    "{Amount} {things} are in {a_place} next to {beside}.",
)
AMOUNTS = ("many", "some", "several", "two", "lots of")


def build_bank() -> list[str]:
    """Write out the grammar: ``SENTENCES_PER_TOPIC`` distinct sentences for every topic."""
    rng = np.random.default_rng(BANK_SEED)
    bank: dict[str, None] = {}
    for topic in TOPICS:
        forms = [list(dict.fromkeys(group)) for group in _sentences(topic)]
        for group in forms:
            rng.shuffle(group)
        fresh = [s for s in _interleave(forms) if s not in bank]
        bank.update(dict.fromkeys(fresh[:SENTENCES_PER_TOPIC]))
    return list(bank)


def _sentences(topic: Topic) -> Iterator[list[str]]:
    """Yield, for every form of sentence, all it can say about a topic."""
    for form in (*PLACE_FORMS, *BESIDE_FORMS, *THING_FORMS, *JOINT_FORMS):
        slots = {
            "adjective": topic.adjectives if "_adj}" in form else ("",),
            "beside": topic.beside if "{beside}" in form else ("",),
            "things": topic.things if "{things}" in form else ("",),
            "state": topic.states if "{state}" in form else ("",),
            "amount": AMOUNTS if "mount}" in form else ("",),
        }
        yield [
            _fill(form, topic.place, dict(zip(slots, values, strict=True)))
            for values in product(*slots.values())
        ]


def _fill(form: str, place: str, words: dict[str, str]) -> str:
    a_place, a_adj = _with_article(place), _with_article(f"{words['adjective']} {place}".strip())
    return form.format(
        a_place=a_place,
        A_place=a_place.capitalize(),
        a_adj=a_adj,
        A_adj=a_adj.capitalize(),
        Amount=words["amount"].capitalize(),
        **words,
    )


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _interleave(groups: list[list[str]]) -> Iterator[str]:
    """Take one sentence of every form in turn, so that no form crowds out the others."""
    for depth in range(max(map(len, groups))):
        for group in groups:
            if depth < len(group):
                yield group[depth]


def write_bank(path: Path = BANK_FILE) -> int:
    """Write the bank to a text file and return the number of sentences."""
    bank = build_bank()
    path.write_text(HEADER + "\n".join(bank) + "\n", encoding="utf-8")
    return len(bank)
