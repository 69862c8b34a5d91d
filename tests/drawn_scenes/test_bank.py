"""The caption bank: the committed file is what the grammar writes, and bad files are refused."""

import re

import pytest

from drawn_scenes.bank import build_bank, write_bank
from drawn_scenes.bank_topics import TOPICS
from rsctir_hf.errors import DataLayoutError, QueryError
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


def test_comments_blank_lines_and_repeats_are_left_out(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("# mine\n\nA red barn.\n  A blue barn. \nA red barn.\n", encoding="utf-8")
    assert read_caption_bank(file) == ["A red barn.", "A blue barn."]


def test_a_missing_bank_is_named(tmp_path):
    with pytest.raises(DataLayoutError, match=r"absent\.txt.*one caption a line"):
        read_caption_bank(tmp_path / "absent.txt")


def test_an_empty_bank_is_refused(tmp_path):
    file = tmp_path / "empty.txt"
    file.write_text("# only a comment\n\n", encoding="utf-8")
    with pytest.raises(QueryError, match="holds no sentence"):
        read_caption_bank(file)


def test_a_bank_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "picture.txt"
    file.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    with pytest.raises(DataLayoutError, match="not UTF-8"):
        read_caption_bank(file)
