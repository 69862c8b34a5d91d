"""The header that is always visible: title, badges, and how far the launch is."""

from rsctir_hf.hub.space import HUB_GALLERY, SAMPLE_GALLERY
from rsctir_hf.ui.server.messages import counted, without_folders
from rsctir_hf.ui.server.workbench import Phase, Status, Workbench
from rsctir_hf.ui.views.cards import badge, notice, progress_bar
from rsctir_hf.vector_index.opening import server_of

TITLE = "Search the earth from above"
_PHOTOGRAPHS = f"For photographs launch with --gallery {HUB_GALLERY}."
_WORDS = {
    Phase.WAITING: "Starting",
    Phase.MODEL: "Loading the model",
    Phase.GALLERY: "Opening the gallery",
}


def header(bench: Workbench) -> str:
    """Return title, badges and state of a launch as HTML."""
    other = bench.gallery_note
    return (
        f'<header class="rs-header"><div class="rs-brand"><span class="rs-mark" '
        f'aria-hidden="true"></span><h1>{TITLE}</h1></div>'
        f'<div class="rs-badges">{_model_badge(bench)}{_gallery_badge(bench)}</div></header>'
        f"{state(bench.status)}"
        + (notice("warning", "Other pictures than planned", other) if other else "")
    )


def state(status: Status) -> str:
    """Say what is under way, what failed or what was skipped; empty when there is nothing."""
    if status.phase is Phase.FAILED:
        return notice("error", "The app cannot search yet", status.message)
    if status.phase is Phase.INDEXING:
        left = "" if status.seconds_left is None else f", about {status.seconds_left:.0f} s left"
        text = f"{status.done} of {status.total} pictures can be searched{left}"
        return progress_bar(text, status.done, status.total)
    if status.phase is Phase.READY:
        return _skipped(status)
    return progress_bar(_WORDS[status.phase], 0, 0)


def _skipped(status: Status) -> str:
    if not status.skipped:
        return ""
    reasons = [without_folders(skip.reason) for skip in status.skipped]
    more = f" And {len(reasons) - 5} more." if len(reasons) > 5 else ""
    title = f"{counted(len(reasons), 'picture')} {'was' if len(reasons) == 1 else 'were'} left out"
    return notice("warning", title, " ".join(reasons[:5]) + more)


def _model_badge(bench: Workbench) -> str:
    if bench.facts is None:
        missing = "not loaded" if bench.status.phase is Phase.FAILED else "loading"
        return badge("Model", bench.model_name, missing)
    return badge("Model", bench.facts.name, f"{bench.facts.size} · {bench.facts.quality}")


def _gallery_badge(bench: Workbench) -> str:
    source = bench.settings.gallery
    if bench.gallery is None:
        name = "drawn scenes" if source == SAMPLE_GALLERY else without_folders(source)
        name = "index" if server_of(source) else name  # its URI may hold a password
        return badge("Gallery", name, "not open")
    count = f"{len(bench.gallery.paths):,}"
    if not bench.gallery.drawn:
        return badge("Gallery", f"{count} pictures", bench.gallery.origin)
    return badge("Gallery", f"{count} drawn scenes", f"{bench.gallery.origin} {_PHOTOGRAPHS}")
