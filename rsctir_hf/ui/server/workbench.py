"""What one launch serves: the model, the gallery and its index, made ready in the background.

The page is up before the model is. ``Workbench.status`` says at any time how far things are, and
a search waits until there is something to search.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from PIL import Image

from rsctir_hf.embedding.encode import Skipped
from rsctir_hf.embedding.roles import RegionGraphModel
from rsctir_hf.errors import (
    DataLayoutError,
    IndexMismatchError,
    ModelLoadError,
    QueryError,
    RegionsError,
    RsctirError,
    UnsupportedError,
)
from rsctir_hf.hub.space import SAMPLE_GALLERY
from rsctir_hf.regions.detector import choose_regions
from rsctir_hf.regions.proposer import MODEL_REGIONS
from rsctir_hf.sample import read_caption_bank
from rsctir_hf.search.caption_bank import CaptionBank
from rsctir_hf.search.retriever import Retriever
from rsctir_hf.search.stored import keeps_vectors, open_stored, stored_regions
from rsctir_hf.time_left import TimeLeft
from rsctir_hf.ui.server.kept_gallery import index_gallery
from rsctir_hf.ui.server.messages import without_folders
from rsctir_hf.ui.server.model_facts import ModelFacts, describe_model
from rsctir_hf.ui.server.settings import AppSettings
from rsctir_hf.ui.server.shown_gallery import Gallery, gallery_of_index, open_gallery

logger = logging.getLogger(__name__)

#: Begins the line of the log that says that gallery and caption bank are embedded.
READY = "Gallery and caption bank are ready"
#: Seconds a search waits for the model and the first pictures.
PATIENCE = 180.0
_LAST_SECONDS = 10.0  # that the end of the program waits for the step at work
_OTHER_MODEL = " Launch with --model or RSCTIR_MODEL to use another model."
_OTHER_REGIONS = (
    " Launch with --regions and --region-threshold, or RSCTIR_REGIONS and RSCTIR_REGION_THRESHOLD, "
    "to use other regions."
)
_WORDS, _BLANK_SIDE = "a river", 32  # words and the pixels of a picture that nobody sees


class Phase(StrEnum):
    """Where the launch stands."""

    WAITING = "waiting"
    MODEL = "loading the model"
    GALLERY = "opening the gallery"
    INDEXING = "indexing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Status:
    """How far the launch is.

    Attributes:
        phase: the current step.
        done: pictures indexed.
        total: pictures to index.
        seconds_left: estimate for the rest of the indexing; None before there is one.
        message: what went wrong, when it failed.
        skipped: pictures that could not be read.
    """

    phase: Phase = Phase.WAITING
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    message: str = ""
    skipped: tuple[Skipped, ...] = ()

    @property
    def over(self) -> bool:
        """Nothing more will change."""
        return self.phase in (Phase.READY, Phase.FAILED)


class Workbench:
    """Holds what was launched.

    Args:
        settings: the launch settings.
        load: makes a retriever from a model directory or id; tests hand in their own.
        bank: sentences for captions and reranking; default: the file in the settings, else the
            bank that ships.
    """

    def __init__(
        self,
        settings: AppSettings,
        *,
        load: Callable[..., Retriever] = Retriever.from_pretrained,
        bank: Sequence[str] | None = None,
    ) -> None:
        self.settings = settings
        self.model = settings.model  # that of an index once it is open
        self.status = Status()
        self.gallery: Gallery | None = None
        self.gallery_note = ""  # why the gallery is not the one that was launched
        self.facts: ModelFacts | None = None
        self._load = load
        self._bank = bank
        self._retriever: Retriever | None = None
        self._region_retriever: Retriever | None = None
        self._usable = threading.Event()
        self._started = threading.Lock()
        self._loading_regions = threading.Lock()

    @property
    def model_name(self) -> str:
        """Last part of the model's directory or id."""
        return Path(self.model).name or self.model

    @property
    def reranks(self) -> frozenset[str]:
        """What not every launch can order by: ``match``, and ``fine`` over stored patch tokens."""
        able = self.facts is not None and self.facts.can_match
        stored = False
        with suppress(IndexMismatchError):  # damaged tokens: whoever asks for them is told
            stored = self._retriever is not None and self._retriever.fine.pictures > 0
        return frozenset(["match"] * able + ["fine"] * stored)

    def start(self) -> None:
        """Begin loading and indexing in the background; a second call does nothing."""
        if self._started.acquire(blocking=False):
            thread = threading.Thread(target=self._prepare, name="rsctir-prepare", daemon=True)
            thread.start()
            atexit.register(thread.join, _LAST_SECONDS)  # torn out of PyTorch it would abort

    def retriever(self, patience: float = PATIENCE) -> Retriever:
        """Return the retriever once pictures can be searched.

        Raises:
            RsctirError: loading failed, or it takes longer than ``patience`` seconds.
        """
        self.start()
        if not self._usable.wait(patience):
            raise QueryError("The model is still loading. Try again in a moment.")
        if self._retriever is None or self.status.phase is Phase.FAILED:
            raise ModelLoadError(self.status.message)
        return self._retriever

    def region_retriever(self) -> Retriever:
        """Return a retriever whose model shows region graphs, loading it on first use.

        Raises:
            RsctirError: no such model was launched, or it cannot be loaded.
        """
        main = self.retriever()
        if isinstance(main.encoder.model, RegionGraphModel):
            return main
        if self.settings.region_model is None:
            raise UnsupportedError(
                "The model that was launched has no region graph. Launch with --region-model "
                "naming a GaLR model."
            )
        with self._loading_regions:
            if self._region_retriever is None:
                self._region_retriever = self._load_retriever(self.settings.region_model)
        return self._region_retriever

    def _prepare(self) -> None:
        try:
            self._make_ready()
        except RsctirError as error:
            logger.error("%s", error)
            remedy = _OTHER_MODEL if isinstance(error, ModelLoadError) else ""
            self._fail(without_folders(error) + remedy)
        except Exception as error:  # the thread's last line of defence: the page must say so
            if not threading.main_thread().is_alive():
                return  # the program ends, and nobody waits for what it would have shown
            logger.exception("Preparing the app failed")
            self._fail(f"{type(error).__name__}: {without_folders(error)}")
        finally:
            self._usable.set()

    def _make_ready(self) -> None:
        began = time.monotonic()
        stored = keeps_vectors(self.settings.gallery)
        if not stored:  # first: it can be browsed without a model
            self.status = Status(Phase.GALLERY)
            self.gallery = self._open_gallery()
        self.status = Status(Phase.MODEL)
        retriever = (
            self._open_index()
            if stored
            else self._load_retriever(self.settings.model, **self._adapter())
        )
        merged = retriever.encoder.adapter
        self.facts = describe_model(retriever.encoder.model, merged.name if merged else self.model)
        if self.gallery is None:
            self.gallery = gallery_of_index(retriever)
        self._retriever = retriever
        if not stored:
            self._index(retriever, self.gallery)
        else:
            self.status = Status(Phase.READY, len(retriever), len(self.gallery.paths))
        self._usable.set()
        # What a first query would wait for besides; any words and any picture will do.
        retriever.search(_WORDS, top_k=1)
        retriever.caption_candidates(Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE)), top_k=1)
        seconds = time.monotonic() - began
        logger.info("%s: %d pictures in %.1f s", READY, len(retriever), seconds)

    def _open_gallery(self) -> Gallery:
        try:
            return open_gallery(self.settings.gallery, split=self.settings.split)
        except RsctirError as error:
            if not self.settings.fall_back:
                raise
            logger.warning("%s", error)
            self.gallery_note = (
                f"{self.settings.gallery} could not be loaded, so the drawn scenes are shown "
                "instead. Restart the app to try again, or set RSCTIR_GALLERY to another gallery."
            )
        return open_gallery(SAMPLE_GALLERY)

    def _open_index(self) -> Retriever:
        """Open an index with the model that was named, else with the one that made it."""
        settings, how = self.settings, self._how()
        index = open_stored(settings.gallery)
        regions = None if settings.regions == MODEL_REGIONS else settings.regions
        chosen = stored_regions(index, regions, threshold=settings.region_threshold, **how)
        opened = Retriever.load(
            index,
            model=settings.model if settings.model_named else None,
            images=settings.images,
            bank=self._bank_of_one(),
            regions=chosen,
            **how,
            **self._adapter(),
        )
        self.model = opened.encoder.id
        return opened

    def _bank_of_one(self) -> CaptionBank:
        """Return the bank for one model, whose vectors it will hold."""
        if self._bank is None:
            self._bank = read_caption_bank(self.settings.bank)
        return CaptionBank(self._bank, keep=self.settings.cache)

    def _how(self) -> Any:  # noqa: ANN401 - of ``LoadOptions``
        return {
            "device": self.settings.device,
            "trust_remote_code": self.settings.trust_remote_code,
        }

    def _adapter(self) -> Any:  # noqa: ANN401 - of ``LoadOptions``
        return {"adapter": self.settings.adapter} if self.settings.adapter else {}

    def _load_retriever(self, model: str, **adapter: Any) -> Retriever:  # noqa: ANN401
        """Load a model; one with region graphs takes the launch's regions wherever it is used."""
        settings, how = self.settings, self._how()
        loaded = self._load(model, bank=self._bank_of_one(), **how, **adapter)
        if not isinstance(loaded.encoder.model, RegionGraphModel):
            return loaded
        try:
            regions = choose_regions(settings.regions, settings.region_threshold, **how)
        except RsctirError as error:
            raise RegionsError(f"{error}{_OTHER_REGIONS}") from error
        if regions == MODEL_REGIONS:
            return loaded
        return Retriever(replace(loaded.encoder, regions=regions), bank=self._bank_of_one())

    def _index(self, retriever: Retriever, gallery: Gallery) -> None:
        everything, left = len(gallery.paths), TimeLeft()

        def report(done: int, total: int) -> None:
            seconds = left.seconds(done, total)
            self.status = Status(Phase.INDEXING, everything - total + done, everything, seconds)
            if len(retriever):
                self._usable.set()

        self.status = Status(Phase.INDEXING, 0, everything)
        made = index_gallery(retriever, gallery, keep=self.settings.cache, progress=report)
        if not made.indexed:
            raise DataLayoutError(
                f"None of the {everything} pictures of {gallery.name} can be read: "
                f"{made.skipped[0].reason} Change --gallery or RSCTIR_GALLERY."
            )
        retriever.finish_adding()  # from now on hits are judged
        self.status = Status(Phase.READY, made.indexed, everything, skipped=tuple(made.skipped))

    def _fail(self, message: str) -> None:
        self.status = replace(self.status, phase=Phase.FAILED, message=message)
