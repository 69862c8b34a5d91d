"""What the page says about a model: its name, size and measured figures, from its own files."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsctir_hf.data.benchmarks import BENCHMARKS
from rsctir_hf.files.atomic import parse_json
from rsctir_hf.hub.card import RESULTS_FILE
from rsctir_hf.hub.card_tables import evaluation_reports
from rsctir_hf.search.matcher import PairMatcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure:
    """One measured mean recall (percent).

    Attributes:
        value: mR, the mean of R@1, 5 and 10 in both directions.
        data: data set and split.
        rerank: ``none``, ``smr``, ``mr`` or ``match``.
        found: sentences of a hundred whose picture is among the first ten; None where not known.
        images: pictures that were searched.
    """

    value: float
    data: str
    rerank: str
    found: float | None = None
    images: int = 0


@dataclass(frozen=True)
class ModelFacts:
    """What the badge and the About page show of a model.

    Attributes:
        name: last part of its directory or id.
        parameters: number of parameters.
        figures: measured figures, the one without reranking on the test split first.
        training_images: what it was trained on, in words; may be empty.
        can_match: it judges picture and sentence together (reranking ``match``).
    """

    name: str
    parameters: int
    figures: tuple[Figure, ...]
    training_images: str
    can_match: bool

    @property
    def size(self) -> str:
        """The number of parameters in words, for example ``34 M parameters``."""
        if self.parameters < 1e6:
            return f"{self.parameters:,} parameters"
        return f"{self.parameters / 1e6:.0f} M parameters"

    @property
    def quality(self) -> str:
        """The first figure in words that need no other, or that there is none."""
        best = self.figures[0] if self.figures else None
        if best is None or best.found is None:
            return "not evaluated"
        among = f" of {best.images:,}" if best.images else ""
        return (
            f"finds the right picture in its first ten{among} for {best.found:.0f} of 100 "
            f"sentences ({best.data})"
        )


def describe_model(model: Any, model_id: str) -> ModelFacts:  # noqa: ANN401 - any dual encoder
    """Collect what is known of a loaded model; ``model_id`` is the directory or Hub id of it."""
    return ModelFacts(
        name=Path(model_id).name or type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        figures=read_figures(Path(model_id)),
        training_images=getattr(model.config, "training_images", "") or "",
        can_match=isinstance(model, PairMatcher),
    )


def read_figures(folder: Path) -> tuple[Figure, ...]:
    """Read the measured figures beside a model; none where there is no readable results file."""
    file = folder / RESULTS_FILE
    if not file.is_file():
        return ()
    try:
        results = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        logger.warning("%s cannot be read: %s", file, error)
        return ()
    found = dict.fromkeys(
        Figure(
            float(report["mR"]),
            _data_in_words(report),
            report["rerank"],
            report.get("t2i_R@10"),
            int(report.get("images") or 0),
        )
        for report in evaluation_reports(results)
        if isinstance(report.get("mR"), int | float)
    )
    return tuple(sorted(found, key=lambda f: ("test" not in f.data, f.rerank != "none")))


def _data_in_words(report: Mapping[str, Any]) -> str:
    """Name data set and split of a report, the set as papers do where it is one of theirs."""
    data = str(report.get("data") or "")  # own data may be a folder called like a benchmark
    title = BENCHMARKS[data].title if data in BENCHMARKS else Path(data).name
    return f"{title} {report.get('split') or ''}".strip()
