"""The tables of ``results/REGIONS.md`` are those of the results files."""

import pytest

from benchmarks import deletion_test, pointing_game, proposal_recall
from benchmarks.readme_block import with_block
from benchmarks.rsod_scoring import read_content, scoring_of
from tests.conftest import ROOT

DOCUMENT = (ROOT / "results" / "REGIONS.md").read_text(encoding="utf-8")


def pointing():
    names = pointing_game.MODELS
    folders = [ROOT / "checkpoints" / name for name in names]
    return [scoring_of(folder, pointing_game.MEASURED, root=ROOT) for folder in folders]


TABLES = {
    pointing_game: lambda: pointing_game.table(pointing()),
    deletion_test: lambda: deletion_test.table(read_content(deletion_test.RESULTS)),
    proposal_recall: lambda: proposal_recall.table(
        scoring_of(proposal_recall.MODEL, proposal_recall.MEASURED, root=ROOT)
    ),
}


@pytest.mark.parametrize("script", TABLES, ids=lambda script: script.__name__)
def test_a_table_is_what_its_script_makes_of_the_results_files(script):
    expected = with_block(DOCUMENT, TABLES[script](), begin=script.BEGIN, end=script.END)
    assert expected == DOCUMENT, f"run: python {script.__name__.replace('.', '/')}.py --write"
