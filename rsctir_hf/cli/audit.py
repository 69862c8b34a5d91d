"""``rsctir audit-captions``: list the captions of a set that look wrong."""

from rsctir_cli.commands import AuditCaptions
from rsctir_hf.audit.audit_page import LIST_FILE, PAGE_FILE, audit_page
from rsctir_hf.audit.findings import audit
from rsctir_hf.cli.output import Bar, print_result
from rsctir_hf.cli.sources import load_options, open_rows
from rsctir_hf.embedding.encode import tell_cut
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.files.atomic import new_folder


def audit_captions(asked: AuditCaptions) -> None:
    """Write page and list into a new folder, and say what they hold."""
    with new_folder(asked.output) as folder:  # before all the work
        rows = open_rows(asked.data, split=asked.split, benchmark=asked.benchmark, columns=asked)
        encoder = Encoder.from_pretrained(asked.model, **load_options(asked))
        tell_cut(encoder.model, encoder.processor, [t for said in rows["captions"] for t in said])
        with Bar("embedding") as bar:
            found = audit(encoder, rows, data=asked.data, progress=bar.show)
        (folder / LIST_FILE).write_bytes(found.csv())
        (folder / PAGE_FILE).write_text(audit_page(found, rows), encoding="utf-8")
    page, listed = asked.output / PAGE_FILE, asked.output / LIST_FILE
    said = (
        f"{len(found.suspects):,} of {found.pairs:,} pairs look wrong.\n"
        f"Look at them: {page}\nTake out of the list what is right: {listed}\n"
        f"Train without the rest: --leave_out {listed}"
    )
    if found.most:
        said += (
            "\nThese are more than half. Either captions and pictures do not belong together, or "
            "the model does not know such pictures; a training refuses this list unless told."
        )
    result = {**found.to_dict(), "page": str(page), "list": str(listed)}
    print_result(said, result, as_json=asked.as_json)
