"""Score a chosen checkpoint, all reranks in one sitting: once on test, freely on validation.

    python benchmarks/score_test.py outputs/galr_0 --name galr-ucm-seed0 --record
    git add results/runs && git commit -m "Chosen on validation: galr-ucm-seed0"
    python benchmarks/score_test.py outputs/galr_0 --name galr-ucm-seed0 --data data/ucm_captions

``--record`` puts the record of the run, with a fingerprint of its weights, under ``results/runs``
(for ``checkpoints/NAME`` it stays in that folder). A test split is scored only with the very
weights of a record that is committed, once for each checkpoint, and a line in
``results/README.md`` says so. With ``--split validation`` only the mean over eight views is
scored: the record holds the rest. Temperature and weight of the reranks are those of the model's
configuration.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from report import ROOT, flags, read, run, save

from rsctir_hf.data.benchmarks import BENCHMARKS, NAMES, load_benchmark
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import DataLayoutError, RsctirError
from rsctir_hf.evaluation import (
    RetrievalReport,
    Rows,
    report_on,
    similarity_matrix,
)
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.matcher import PairMatcher
from rsctir_hf.search.second_stages import match_probabilities

MAIN_BENCHMARK = "ucm"  # its results files do not name it
TEST = "test"
ONE_VIEW, EIGHT_VIEWS = 1, 8
RERANKS = ("none", "smr", "mr")  # with each number of views; match with one view


class ScoringRefusedError(RsctirError, ValueError):
    """A score that would not be honest: a second one, or one before the choice is committed."""


@dataclass(frozen=True)
class Scoring:
    """What is scored under which name.

    Attributes:
        folder: of the model.
        name: of the checkpoint in tables; several seeds end in ``-seed0``, ``-seed1``, ...
        benchmark: whose splits ``data`` holds.
        split: which of them.
        root: the checkout that keeps results and log.
    """

    folder: Path
    name: str
    benchmark: str = MAIN_BENCHMARK
    split: str = TEST
    root: Path = ROOT

    @property
    def record_file(self) -> Path:
        """Record of the training run: beside shipped weights, else under ``results/runs``."""
        shipped = self.root / "checkpoints" / self.name
        if self.folder.resolve() == shipped.resolve():
            return shipped / "results.json"
        return self.root / "results" / "runs" / f"{self.name}.json"

    @property
    def title(self) -> str:
        """Benchmark and split as the log writes them."""
        return f"{BENCHMARKS[self.benchmark].title} {self.split}"

    @property
    def log(self) -> Path:
        """The document whose last table is the log."""
        return self.root / "results" / "README.md"

    def report_file(self, report: RetrievalReport) -> Path:
        """Where a report is written."""
        data = "" if self.benchmark == MAIN_BENCHMARK else f"{self.benchmark}_"
        views = "" if report.symmetries == ONE_VIEW else f"_sym{report.symmetries}"
        name = f"{self.name}_{data}{self.split}_{report.rerank}{views}.json"
        return self.root / "results" / name


def main(arguments: Sequence[str] | None = None) -> None:
    """Record a run, or score its model."""
    parser = flags(__doc__)
    parser.add_argument("folder", help="model folder, as training/run.py writes it")
    parser.add_argument("--name", required=True, help="of the checkpoint: cmpagl-ucm-seed0")
    parser.add_argument("--data", default="", help="folder or Hub id of the benchmark")
    parser.add_argument("--benchmark", default=MAIN_BENCHMARK, choices=NAMES)
    parser.add_argument("--split", default=TEST, choices=["validation", TEST])
    parser.add_argument("--record", action="store_true", help="keep the run's record only")
    options = parser.parse_args(arguments)
    if not (options.record or options.data):
        parser.error("--data is missing: the folder of the benchmark, such as data/ucm_captions")
    scoring = Scoring(Path(options.folder), options.name, options.benchmark, options.split, ROOT)
    if options.record:
        print(write_run_record(scoring))
        return
    rows = load_benchmark(options.benchmark, options.data, split=options.split, complete=False)
    score(scoring, rows)


def write_run_record(scoring: Scoring) -> Path:
    """Keep the record of a training run under the name its model is scored by.

    Args:
        scoring: names the model folder, which holds ``results.json``, and the checkpoint.

    Returns:
        The file, which now holds the fingerprint of the weights.

    Raises:
        DataLayoutError: there is no ``results.json``.
        ScoringRefusedError: it names other weights than the folder holds.
    """
    return keep_record(scoring, weights_fingerprint(Encoder.from_pretrained(scoring.folder).model))


def keep_record(scoring: Scoring, weights: str) -> Path:
    """Keep the record of a run under the scoring's name; ``weights`` is their fingerprint.

    Raises:
        DataLayoutError: there is no ``results.json``.
        ScoringRefusedError: it names other weights.
    """
    record = read_record(scoring.folder / "results.json")
    refuse_other_weights(scoring, {"weights": weights, **record}, weights)
    reports = [{**report, "model": scoring.name} for report in record["validation"]]
    save(scoring.record_file, {"weights": weights, **record, "validation": reports}, quiet=True)
    return scoring.record_file


def score(scoring: Scoring, rows: Rows) -> list[RetrievalReport]:
    """Score a model in all ways, write the reports, and log it if the split is test.

    Args:
        scoring: what is scored.
        rows: the split, with ``image`` and ``captions``.

    Raises:
        DataLayoutError: the run was not recorded.
        ScoringRefusedError: on test, if it was scored before or its record is not committed; on
            any split, if the weights are not those of the record.
    """
    loaded = Encoder.from_pretrained(scoring.folder)
    weights = weights_fingerprint(loaded.model)
    seed = chosen_record(scoring, weights)["validation"][0]["seed"]
    names: dict[str, str | int | None] = {
        "model": scoring.name,
        "model_revision": f"weights:{weights}",
        "data": scoring.benchmark,
        "split": scoring.split,
        "seed": seed,
    }
    # All of them before the first is written: an interrupted sitting leaves nothing to choose from.
    reports = [report.with_source(**names) for report in reports_of(loaded, rows, scoring.split)]
    for report in reports:
        save(scoring.report_file(report), report.to_dict())
    if scoring.split == TEST:
        add_log_line(scoring, described(scoring, reports), seed=seed)
    return reports


def reports_of(loaded: Encoder, rows: Rows, split: str) -> Iterator[RetrievalReport]:
    """Yield a report for each rerank and number of views; the split is embedded once for each."""
    bank = CaptionBank(read_caption_bank())
    for views in (ONE_VIEW, EIGHT_VIEWS) if split == TEST else (EIGHT_VIEWS,):
        data = similarity_matrix(loaded, rows, symmetries=views)
        for rerank in RERANKS:
            yield report_on(data, loaded, rerank=rerank, bank=bank)
        if views == ONE_VIEW and isinstance(loaded.model, PairMatcher):
            found = match_probabilities(loaded, rows, data=data)
            yield report_on(data, loaded, rerank="match", judged=found)


def read_record(file: Path) -> dict[str, Any]:
    """Read the record of a training run.

    Raises:
        DataLayoutError: it is not there, or holds no validation reports.
    """
    record = read(file)
    if record is None:
        raise DataLayoutError(
            f"{file} is missing. training/run.py writes results.json beside a model; --record "
            "keeps it with the results."
        )
    if not record.get("validation"):
        raise DataLayoutError(f"{file} holds no validation reports: nothing was chosen there.")
    return record


def chosen_record(scoring: Scoring, weights: str) -> dict[str, Any]:
    """Return the record of a choice whose model may be scored now.

    Raises:
        DataLayoutError: nothing was chosen.
        ScoringRefusedError: on test, it was scored before or the record is not committed as it
            stands; on any split, the record is of other weights.
    """
    record = read_record(scoring.record_file)
    if scoring.split == TEST:
        refuse_second_score(scoring)
        refuse_uncommitted(scoring)
    refuse_other_weights(scoring, record, weights)
    return record


def refuse_other_weights(scoring: Scoring, record: dict[str, Any], weights: str) -> None:
    """Raise ``ScoringRefusedError`` unless the record is that of these weights."""
    recorded = record.get("weights")
    if recorded != weights:
        raise ScoringRefusedError(
            f"The weights in {scoring.folder} are {weights}, those of the record of "
            f"{scoring.name} are {recorded or 'not named'}. Score the model that was chosen, or "
            "write its record with --record and commit it."
        )


def refuse_second_score(scoring: Scoring) -> None:
    """Raise ``ScoringRefusedError`` if there is a log line or a report of this checkpoint.

    A copy of it under another name counts as well: reports name the weights.
    """
    lines = scoring.log.read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if f"`{scoring.name}`" in line and scoring.title in line]
    weights = read_record(scoring.record_file).get("weights")
    for file in sorted((scoring.root / "results").glob("*.json")):
        report = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(report, dict) or report.get("split") != scoring.split:
            continue
        same_data = Path(report.get("data", "")).name == scoring.benchmark
        same_name = Path(report.get("model", "")).name == scoring.name
        if same_data and (same_name or report.get("model_revision") == f"weights:{weights}"):
            found.append(file.name)
    if found:
        raise ScoringRefusedError(
            f"{scoring.name} was scored on {scoring.title} before: {found[0]} A checkpoint is "
            "scored on test once. Compare choices on validation; a new choice gets a new name."
        )


def refuse_uncommitted(scoring: Scoring) -> None:
    """Raise ``ScoringRefusedError`` unless the record stands in the last commit as it is here."""
    name = scoring.record_file.relative_to(scoring.root).as_posix()
    committed = git(scoring.root, "show", f"HEAD:{name}")
    if committed != scoring.record_file.read_bytes():
        raise ScoringRefusedError(
            f"{name} is not in the last commit as it stands here. Commit it first: test is scored "
            "after the choice, not before."
        )


def described(scoring: Scoring, reports: Sequence[RetrievalReport]) -> str:
    """Say in the log's words what was scored."""
    ways = ", ".join(
        report.rerank + ("" if report.symmetries == ONE_VIEW else f" ({report.symmetries} views)")
        for report in reports
    )
    return f"{scoring.title}, reranks {ways} in one sitting"


def add_log_line(scoring: Scoring, what: str, *, seed: int | None) -> None:
    """Append a row to the log, which is the end of its document."""
    revision = (git(scoring.root, "rev-parse", "--short", "HEAD") or b"").decode().strip()
    of_seed = "" if seed is None else f" (seed {seed})"
    line = f"| {date.today()} | `{scoring.name}`{of_seed} | {revision} | {what} |"
    text = scoring.log.read_text(encoding="utf-8").rstrip("\n")
    scoring.log.write_text(f"{text}\n{line}\n", encoding="utf-8")


def git(root: Path, *arguments: str) -> bytes | None:
    """Return what git prints, or None where it refuses."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    run(main)
