"""``rsctir evaluate``: score a model on a captioned data set."""

from pathlib import Path
from typing import Annotated

import typer

from rsctir_hf.cli.options import (
    Bank,
    Device,
    Model,
    RegionsOption,
    Rerank,
    RerankOption,
    Revision,
    Threshold,
    Trust,
)
from rsctir_hf.cli.output import Bar, write_report
from rsctir_hf.cli.sources import open_rows, read_bank
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.regions.proposer import MODEL_REGIONS


def evaluate(  # noqa: PLR0913 - an argument is an option of the command
    model: Model,
    data: Annotated[
        str,
        typer.Option(help="Folder or Hub id of a captioned data set, or 'sample' (drawn scenes)."),
    ],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    benchmark: Annotated[
        str | None,
        typer.Option(help="ucm, rsicd, rsitmd or sydney: read --data as this benchmark."),
    ] = None,
    rerank: RerankOption = Rerank.NONE,
    temperature: Annotated[float | None, typer.Option(help="Of SMR. Default: the model's.")] = None,
    bank: Bank = None,
    regions: RegionsOption = MODEL_REGIONS,
    threshold: Threshold = None,
    symmetries: Annotated[
        int, typer.Option(help="8: average each picture's turned and mirrored views. Or 1.")
    ] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report here ('-': standard output).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the model's training, recorded; nothing is drawn here.")
    ] = None,
    revision: Revision = None,
    device: Device = "cpu",
    trust: Trust = False,
) -> None:
    """Score a model on a captioned data set: R@1, R@5, R@10 both ways, and their mean mR."""
    chosen = choose_regions(regions, threshold, device=device, trust_remote_code=trust)
    rows = open_rows(data, split=split, benchmark=benchmark)
    encoder = Encoder.from_pretrained(
        model, device=device, trust_remote_code=trust, revision=revision, regions=chosen
    )
    with Bar("embedding") as bar:
        report = evaluate_retrieval(
            encoder,
            rows,
            rerank=rerank.value,
            temperature=temperature,
            bank=read_bank(bank) if rerank in (Rerank.SMR, Rerank.MR) else None,
            symmetries=symmetries,
            progress=bar.show,
        )
    found = encoder.revision or f"weights:{weights_fingerprint(encoder.model)}"
    named = report.with_source(
        model=model, model_revision=found, data=benchmark or data, split=split, seed=seed
    )
    write_report(named, json_file)
