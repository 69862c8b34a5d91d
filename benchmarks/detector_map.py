"""Score a chosen detector: AP50 of each class and their mean, once on RSOD test.

    python benchmarks/detector_map.py outputs/overhead_rsod --name overhead-rsod --record
    git add results/runs && git commit -m "Chosen on validation: overhead-rsod"
    python benchmarks/detector_map.py outputs/overhead_rsod --name overhead-rsod --data data/rsod
    python benchmarks/detector_map.py checkpoints/overhead-rsod --name overhead-rsod --data sample

As ``score_test.py`` does for retrieval: ``--record`` puts the record of the run under
``results/runs`` (for ``checkpoints/NAME`` it stays in that folder), and test is scored only with
the very weights of a record that is committed, once for each checkpoint; a line in
``results/README.md`` says so. ``sample`` are the scenes of the built-in gallery, drawn by our own
code: they may be scored at any time and tell whether the weights still do what they did.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import ROOT, flags, run, save
from score_test import TEST, Scoring, add_log_line, chosen_record, keep_record
from transformers import AutoImageProcessor, AutoModelForObjectDetection, PreTrainedModel

import rsctir_hf  # registers the detector with the Auto classes
from rsctir_hf.detection.average_precision import evaluate_detection
from rsctir_hf.detection.boxed_sets import DRAWN_NAMES, read_split
from rsctir_hf.detection.crops import BoxedPicture, read_boxed_folder
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.sample import sample_folder

RSOD = "rsod"
SAMPLE = "sample"  # as on the command line of rsctir
PROTOCOL = "PASCAL VOC, every point of the curve, IoU 0.5, whole pictures, one scale"


class DetectorScoring(Scoring):
    """A detector in the place of a retrieval model."""

    @property
    def title(self) -> str:
        """Benchmark and split as the log writes them."""
        return f"RSOD {self.split}"

    @property
    def map_file(self) -> Path:
        """Where the scores are written."""
        return self.root / "results" / f"{self.name}_{RSOD}_{self.split}_map50.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Record a run, or score its model."""
    parser = flags(__doc__)
    parser.add_argument("folder", help="model folder, as training/detector.py writes it")
    parser.add_argument("--name", required=True, help="of the checkpoint: overhead-rsod")
    parser.add_argument("--data", default="", help="folder of RSOD: classes.json, test/; or sample")
    parser.add_argument("--record", action="store_true", help="keep the run's record only")
    options = parser.parse_args(arguments)
    if not (options.record or options.data):
        parser.error("name the folder of RSOD with --data, or keep the record with --record")
    scoring = DetectorScoring(Path(options.folder), options.name, RSOD, TEST, ROOT)
    if options.record:
        print(write_run_record(scoring))
    elif options.data == SAMPLE:
        score_drawn(scoring)
    else:
        score(scoring, read_split(Path(options.data), TEST))


def load_detector(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Load a detector and its image processor from a folder."""
    model = AutoModelForObjectDetection.from_pretrained(folder, local_files_only=True)
    return model.eval(), AutoImageProcessor.from_pretrained(folder, local_files_only=True)


def write_run_record(scoring: DetectorScoring) -> Path:
    """Keep the record of a training with the results, and return its file.

    Raises:
        DataLayoutError: there is no ``results.json``.
        ScoringRefusedError: it names other weights than the folder holds.
    """
    model, _ = load_detector(scoring.folder)
    return keep_record(scoring, weights_fingerprint(model))


def score(scoring: DetectorScoring, pictures: Sequence[BoxedPicture]) -> dict[str, Any]:
    """Score a detector on test, write the report and log it.

    Raises:
        DataLayoutError: the run was not recorded.
        ScoringRefusedError: it was scored before, its record is not committed, or the weights are
            not those of the record.
    """
    model, processor = load_detector(scoring.folder)
    seed = chosen_record(scoring, weights_fingerprint(model))["validation"][0]["seed"]
    named = {"data": RSOD, "split": scoring.split, "seed": seed}
    report = named | report_on(scoring, model, processor, pictures)
    save(scoring.map_file, report)
    add_log_line(scoring, f"{scoring.title}, AP50 of each class", seed=seed)
    return report


def score_drawn(scoring: DetectorScoring) -> dict[str, Any]:
    """Score a detector on the drawn scenes of the built-in gallery, and write the report."""
    model, processor = load_detector(scoring.folder)
    report = {"data": "drawn"} | report_on(scoring, model, processor, drawn_pictures(model))
    save(scoring.map_file.with_name(f"{scoring.name}_drawn_map50.json"), report)
    return report


def report_on(
    scoring: DetectorScoring,
    model: PreTrainedModel,
    processor: Any,  # noqa: ANN401 - image processors share no typed base
    pictures: Sequence[BoxedPicture],
) -> dict[str, Any]:
    """Score a detector on pictures."""
    return {
        "model": scoring.name,
        "model_revision": f"weights:{weights_fingerprint(model)}",
        "pictures": len(pictures),
        "protocol": PROTOCOL,
        "code": f"rsctir_hf {rsctir_hf.__version__}",
        "metrics": evaluate_detection(model, processor, pictures),
    }


def drawn_pictures(model: PreTrainedModel) -> list[BoxedPicture]:
    """Read the built-in gallery with the boxes of the classes that ``model`` knows."""
    names: Any = model.config.id2label
    classes = [names[number] for number in range(len(names))]
    return read_boxed_folder(sample_folder(), classes=classes, names=DRAWN_NAMES)


if __name__ == "__main__":
    run(main)
