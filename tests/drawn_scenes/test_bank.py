"""The caption bank: the committed file is what the grammar writes, in plain sentences."""

import re

from drawn_scenes.bank import build_bank, write_bank
from drawn_scenes.bank_topics import TOPICS
from rsctir_hf.sample import BANK_FILE, read_caption_bank


def test_the_bank_holds_one_to_two_thousand_sentences():
    assert 1000 <= len(read_caption_bank()) <= 2000


def test_no_sentence_of_the_bank_stands_twice():
    lines = BANK_FILE.read_text(encoding="utf-8").splitlines()
    sentences = [line.casefold() for line in lines if not line.startswith("#")]
    assert len(sentences) == len(set(sentences))


def test_the_committed_bank_is_what_the_grammar_writes(tmp_path):
    copy = tmp_path / "bank.txt"
    assert write_bank(copy) == len(build_bank())
    assert copy.read_text(encoding="utf-8") == BANK_FILE.read_text(encoding="utf-8")


def test_sentences_are_short_and_plain():
    for sentence in read_caption_bank():
        assert re.fullmatch(r"[A-Z][A-Za-z ]+\.", sentence), sentence
        assert 4 <= len(sentence.split()) <= 20, sentence


def test_every_topic_is_spoken_of():
    bank = read_caption_bank()
    for topic in TOPICS:
        assert any(topic.place in sentence.lower() for sentence in bank), topic.place
