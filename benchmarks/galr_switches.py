"""What validation says of GaLR's switches: one short training for each, paired over seeds.

    python benchmarks/galr_switches.py --data data/ucm_captions --seeds 0 1 2

Both towers stay frozen at 128 px, so a run takes minutes on two cores and differences say
something about the switched part alone; figures are far below those of a full training. Writes
``results/galr_switches.json``: validation mR of each variant and seed, mean and spread.
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "training" / "recipes" / "galr_ucm.yaml"
CONFIG: Mapping[str, Any] = {
    "backbone": "efficientnet_lite2",
    "image_size": 128,
    "mvsa_grid": 8,
    "text_encoder_type": "bert",
    "projection_dropout": 0.2,
}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "global only": {"use_regions": False},
    "fusion_order released": {"fusion_order": "released"},
    "fusion_gate paper": {"fusion_gate": "paper"},
    "fusion_weights released": {"fusion_weights": "released"},
    "mvsa with PReLU and L2": {"mvsa_prelu": True, "mvsa_l2": True},
    "drea plain": {"drea": "plain"},
}


def main() -> None:
    """Train every variant with every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="data/ucm_captions", help="UCM-Captions")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "galr_switches.json")
    options = parser.parse_args()
    train = load_training()
    found: dict[str, dict[int, float]] = {name: {} for name in VARIANTS}
    for seed in options.seeds:
        for name, changes in VARIANTS.items():
            found[name][seed] = validation_score(
                train, {**CONFIG, **changes}, data=options.data, seed=seed, epochs=options.epochs
            )
            table = summary(found)
            report = {"epochs": options.epochs, "config": dict(CONFIG), "variants": table}
            options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            print(f"{name}, seed {seed}: validation mR {found[name][seed]:.2f}", flush=True)


def load_training() -> Callable[[Sequence[str]], None]:
    """Return the main function of ``training/run.py``, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("training_run", ROOT / "training" / "run.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"No training script below {ROOT}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def validation_score(
    train: Callable[[Sequence[str]], None],
    config: Mapping[str, Any],
    *,
    data: str,
    seed: int,
    epochs: int,
) -> float:
    """Train once and return validation mR without rerank, percent."""
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            "data": data,
            "config": json.dumps(config),
            "frozen_epochs": "{backbone: -1, text_encoder.bert: -1}",
            "num_train_epochs": epochs,
            "captions_per_image": 1,
            "early_stopping_epochs": 0,
            "output_dir": folder,
            "report_to": "none",
            "seed": seed,
        }
        train(
            [
                str(RECIPE),
                *(part for key, value in flags.items() for part in (f"--{key}", str(value))),
            ]
        )
        results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    return float(results["validation"][0]["mR"])


def summary(found: Mapping[str, Mapping[int, float]]) -> list[dict[str, Any]]:
    """Mean, spread and paired difference to the default of each variant, percent."""
    default = found["default"]
    rows = []
    for name, scores in found.items():
        if not scores:
            continue
        gains = [value - default[seed] for seed, value in scores.items()]
        rows.append(
            {
                "variant": name,
                "mR_by_seed": {str(seed): round(value, 2) for seed, value in scores.items()},
                "mean": round(statistics.fmean(scores.values()), 2),
                "spread": round(statistics.stdev(scores.values()), 2) if len(scores) > 1 else None,
                "gain_over_default": round(statistics.fmean(gains), 2),
            }
        )
    return rows


if __name__ == "__main__":
    main()
