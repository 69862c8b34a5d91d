"""The header that is always visible: title, gallery, model, and how far the launch is."""

from rsctir_hf.hub.space import SAMPLE_GALLERY
from rsctir_hf.time_left import in_words
from rsctir_hf.ui.server.messages import counted, without_folders
from rsctir_hf.ui.server.workbench import Phase, Status, Workbench
from rsctir_hf.ui.views.cards import escape, notice, progress_bar
from rsctir_hf.vector_index.opening import server_of

TITLE = "Search the earth from above"
_WORDS = {
    Phase.WAITING: "Starting",
    Phase.MODEL: "Loading the model",
    Phase.GALLERY: "Opening the gallery",
}


def header(bench: Workbench) -> str:
    """Return title, what is searched by what, and the state of a launch as HTML."""
    other = bench.gallery_note
    return (
        f'<header class="rs-header"><div class="rs-brand"><span class="rs-mark" '
        f'aria-hidden="true"></span><h1>{TITLE}</h1></div>'
        f'<div class="rs-facts"><span>{_about_gallery(bench)}</span>'
        f"<span>{_about_model(bench)}</span></div></header>"
        f"{state(bench.status)}"
        + (notice("warning", "Other pictures than planned", other) if other else "")
    )


def state(status: Status) -> str:
    """Say what is under way, what failed or what was skipped; empty when there is nothing."""
    if status.phase is Phase.FAILED:
        return notice("error", "The app cannot search yet", status.message)
    if status.phase is Phase.INDEXING:
        left = in_words(status.seconds_left)
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


def _about_model(bench: Workbench) -> str:
    if bench.facts is None:
        missing = "not loaded" if bench.status.phase is Phase.FAILED else "loading"
        return f"Model <strong>{escape(bench.model_name)}</strong>, {missing}"
    return f"Model <strong>{escape(bench.facts.name)}</strong>: {escape(bench.facts.quality)}"


def _about_gallery(bench: Workbench) -> str:
    gallery, source = bench.gallery, bench.settings.gallery
    if gallery is None:
        name = "drawn scenes" if source == SAMPLE_GALLERY else without_folders(source)
        name = "index" if server_of(source) else name  # its URI may hold a password
        return f"Gallery <strong>{escape(name)}</strong>, not open"
    count = f"{len(gallery.paths):,}"
    if gallery.drawn:
        return f"<strong>{count} drawn scenes</strong>, made by a program: no photographs"
    return f"<strong>{count} pictures</strong>. {escape(gallery.origin)}"
