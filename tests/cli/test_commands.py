"""What stands beside the package, to answer at once: the commands, their options and defaults."""

import json
import os
import subprocess
import sys

import pytest

from rsctir_cli import commands
from rsctir_cli.main import COMMANDS, load
from rsctir_hf.data.conversion import FORMATS
from rsctir_hf.loading.open_clip import ACTIVATIONS, DEFAULT_TOKENIZER
from rsctir_hf.regions.proposer import MODEL_REGIONS
from rsctir_hf.scene import OVERLAP, TILE, TOP_K
from rsctir_hf.search.other_queries import RERANKS
from rsctir_hf.search.retriever import EXACT_ENGINE
from tests.conftest import ROOT

HEAVY = ["torch", "transformers", "gradio", "datasets", "rsctir_hf"]
MISTAKES = {
    "nonsense": "No such command",
    "search --nonsense": "No such option",
    "search --text boats": "Missing option '--index'",
    "evaluate --model m --data d --rerank best": "'best' is not one of 'none', 'smr', 'mr'",
    "embed --model m --images i --output o --batch-size 0": "Invalid value for '--batch-size'",
}
# Many command lines in one process: the exit code of each, its words, and what was loaded by then.
PROGRAM = """
import contextlib, io, json, sys
from rsctir_cli.main import main

lines, heavy = json.load(sys.stdin)
answers = []
for line in lines:
    sys.argv, said = ["rsctir", *line.split()], io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main()
    except SystemExit as left:
        answers.append([left.code, said.getvalue(), [m for m in heavy if m in sys.modules]])
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def answers():
    names = [name.replace("_", "-") for _, name in COMMANDS.values()]
    lines = ["--help", *(f"{name} --help" for name in names), *MISTAKES]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        input=json.dumps([lines, HEAVY]),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(lines, json.loads(done.stdout), strict=True))


@pytest.mark.slow
def test_help_and_usage_errors_load_neither_the_package_nor_torch(answers):
    assert not {line: loaded for line, (_, _, loaded) in answers.items() if loaded}


@pytest.mark.slow
def test_help_says_what_each_command_does_and_takes(answers):
    code, said, _ = answers["--help"]
    assert code == 0 and "rsctir [OPTIONS] COMMAND" in said
    for record, (_, name) in COMMANDS.items():
        name = name.replace("_", "-")
        first, own = record.__doc__.splitlines()[0], answers[f"{name} --help"]
        assert f" {name} " in said
        assert own[0] == 0 and f"rsctir {name} " in own[1] and first in own[1]
    assert "--trust-remote-code" in answers["search --help"][1]


@pytest.mark.slow
def test_a_mistake_is_named_and_ends_with_code_two(answers):
    for line, expected in MISTAKES.items():
        code, said, _ = answers[line]
        assert code == 2
        assert expected in said, said


def test_every_command_has_its_code_in_the_package():
    for module, function in COMMANDS.values():
        assert callable(getattr(load(f"cli.{module}"), function))


def test_defaults_and_choices_are_those_of_the_package():
    for record in (commands.Index, commands.Scene):
        assert (record.tile, record.overlap, record.regions) == (TILE, OVERLAP, MODEL_REGIONS)
    assert commands.Index.engine == EXACT_ENGINE
    assert commands.Scene.top_k == TOP_K
    (vocabulary,) = commands.ImportClip.__annotations__["vocabulary"].__metadata__
    assert f"{DEFAULT_TOKENIZER} is asked for" in vocabulary.help
    assert tuple(commands.Rerank) == RERANKS
    assert tuple(commands.Layout) == FORMATS
    assert set(commands.Activation) == set(ACTIVATIONS)
