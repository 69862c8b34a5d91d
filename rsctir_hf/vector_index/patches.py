"""The vectors of a picture's patches, kept beside an index: what the fine stage of a search reads.

A patch is kept as int8 with a scale of its own: some 25 kB for the 49 patches of a picture, of 512
numbers each. They are found by the picture's vector, not by its id, so they stay right however
often the index is saved anew and whatever ids it gives. Each file is mapped into memory: only the
rows that are asked for are read. ``patches.json`` is written last and names the files, so a run
that is cut short leaves what it has written, and the next goes on from there.
"""

import hashlib
import json
import re
import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rsctir_hf.errors import IndexMismatchError
from rsctir_hf.files.atomic import only_writer, parse_json, write_atomically

PATCHES_FILE, PATCHES_FOLDER = "patches.json", "patches"
FORMAT = 1
PART_ROWS = 512  # 13 MB of 49 patches of 512 numbers
_PART = re.compile(r"[0-9a-f]{8}\.safetensors")
_LARGEST = 127
_REMEDY = (
    "Add them: rsctir index --model MODEL --images FOLDER --index INDEX --tokens, or "
    "Retriever.fine.add_patches() in Python."
)


@dataclass(frozen=True)
class PatchPart:
    """The patches of n pictures.

    Attributes:
        keys: (n,) int64, of the pictures' vectors.
        scales: (n, T) float32.
        patches: (n, T, D) int8; times its scale a patch is a unit vector, but for rounding.
    """

    keys: Tensor
    scales: Tensor
    patches: Tensor

    @classmethod
    def of(cls, vectors: Tensor, patches: Tensor) -> "PatchPart":
        """Store patches (n, T, D) under the vectors (n, D) of their pictures."""
        scales = patches.abs().amax(dim=-1).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        rounded = (patches / scales.unsqueeze(-1)).round().to(torch.int8)
        return cls(keys_of(vectors), scales, rounded)

    @classmethod
    def read(cls, file: Path) -> "PatchPart":
        """Map a file into memory.

        Raises:
            IndexMismatchError: it is missing or damaged.
        """
        try:
            with safe_open(file, "pt") as opened:
                part = cls(*(opened.get_tensor(name) for name in ("keys", "scales", "patches")))
        except (OSError, SafetensorError, ValueError) as error:
            raise _damaged(file, str(error)) from error
        if part.patches.dim() != 3 or part.patches.dtype != torch.int8:
            raise _damaged(file, f"patches {tuple(part.patches.shape)} {part.patches.dtype}")
        if part.scales.shape != part.patches.shape[:2] or len(part.keys) != len(part.patches):
            raise _damaged(file, f"scales {tuple(part.scales.shape)}")
        return part

    def rows(self, rows: Tensor) -> Tensor:
        """Return the patches (K, T, D) float32 of some rows."""
        return self.patches[rows] * self.scales[rows].unsqueeze(-1)


class PatchStore:
    """Patches of the pictures of one index, in memory or in its folder.

    Args:
        made_by: fingerprint of the model's weights.
        folder: of the index, which holds them or will; None: they are kept in memory.

    Raises:
        IndexMismatchError: what the folder holds is damaged, or another model's.
    """

    def __init__(self, made_by: str, folder: Path | None = None) -> None:
        self._made_by, self._folder = made_by, folder
        self._parts: dict[str, PatchPart] = {}
        self._places: dict[int, tuple[str, int]] = {}
        for name in self._recorded():
            self._hold(name, PatchPart.read(self._file(name)))

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, vectors: Tensor) -> Tensor:
        """Return the positions of those of n vectors (n, D) whose patches are not here."""
        there = [key in self._places for key in keys_of(vectors).tolist()]
        return (~torch.tensor(there, dtype=torch.bool)).nonzero().flatten()

    def patches_of(self, vectors: Tensor) -> Tensor:
        """Return the patches (K, T, D) float32 of the pictures with these vectors (K, D).

        Raises:
            IndexMismatchError: they are not here; says how to add them.
        """
        if not len(self):
            raise IndexMismatchError(
                f"This index holds no patch tokens, which rerank 'fine' compares. {_REMEDY}"
            )
        if absent := len(self.missing(vectors)):
            raise IndexMismatchError(
                f"{absent} of the best {len(vectors)} pictures have no patch tokens in this index, "
                f"which holds those of {len(self)} pictures. {_REMEDY}"
            )
        places = [self._places[key] for key in keys_of(vectors).tolist()]
        found: dict[int, Tensor] = {}
        for name in dict.fromkeys(name for name, _ in places):
            mine = [at for at, (held, _) in enumerate(places) if held == name]
            rows = self._parts[name].rows(torch.tensor([places[at][1] for at in mine]))
            found |= dict(zip(mine, rows, strict=True))
        return torch.stack([found[at] for at in range(len(places))])

    def writing(self) -> AbstractContextManager[None]:
        """Keep other processes from writing to the folder, where there is one.

        Raises:
            FolderBusyError: another process writes there.
            StorageError: the folder cannot be written to.
        """
        return nullcontext() if self._folder is None else only_writer(self._folder)

    def add(self, vectors: Tensor, patches: Tensor) -> None:
        """Keep the patches (n, T, D) of pictures with these vectors (n, D).

        Raises:
            StorageError: they cannot be written; what was there stays.
        """
        name, part = f"{uuid.uuid4().hex[:8]}.safetensors", PatchPart.of(vectors, patches)
        self._write(name, part)
        self._hold(name, part if self._folder is None else PatchPart.read(self._file(name)))
        self._record()

    def move_to(self, folder: Path) -> None:
        """Keep all of it in the folder of an index from now on; nothing where it is there.

        Raises:
            StorageError: it cannot be written.
        """
        if self._folder is not None and self._folder.resolve() == folder.resolve():
            return
        self._folder = folder
        for name, part in self._parts.items():
            self._write(name, part)
        if self._parts:
            self._record()

    def drop_others(self, vectors: Tensor) -> None:
        """Forget the files that hold no picture with any of these vectors (n, D)."""
        wanted = {self._places[key][0] for key in keys_of(vectors).tolist() if key in self._places}
        self._places = {key: at for key, at in self._places.items() if at[0] in wanted}
        self._parts = {name: self._parts[name] for name in wanted}
        if self._folder is not None:
            self._record()
            for file in (self._folder / PATCHES_FOLDER).glob("*.safetensors"):
                if file.name not in wanted:
                    file.unlink(missing_ok=True)

    def _hold(self, name: str, part: PatchPart) -> None:
        self._parts[name] = part
        self._places |= {key: (name, row) for row, key in enumerate(part.keys.tolist())}

    def _recorded(self) -> list[str]:
        """Return the names of the files that the folder's record names."""
        if self._folder is None or not (self._folder / PATCHES_FILE).exists():
            return []
        file = self._folder / PATCHES_FILE
        try:
            said = parse_json(file.read_text(encoding="utf-8"))
            names, made_by, version = list(said["parts"]), said["made_by"], said["format"]
            if not all(isinstance(name, str) and _PART.fullmatch(name) for name in names):
                raise ValueError(f"it names {names}")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise _damaged(file, str(error)) from error
        if version != FORMAT:
            raise _damaged(file, f"format {version}, this version reads {FORMAT}")
        return names if made_by == self._made_by else []

    def _record(self) -> None:
        if self._folder is not None:
            said = {"format": FORMAT, "made_by": self._made_by, "parts": list(self._parts)}
            write_atomically(self._folder / PATCHES_FILE, json.dumps(said, indent=1))

    def _write(self, name: str, part: PatchPart) -> None:
        if self._folder is not None:
            write_atomically(self._file(name), save(vars(part)), durable=False)

    def _file(self, name: str) -> Path:
        return Path(self._folder or "") / PATCHES_FOLDER / name


def keys_of(vectors: Tensor) -> Tensor:
    """Return a key (n,) int64 of each of n vectors (n, D): equal ones have equal keys."""
    rows = vectors.float().contiguous().numpy()
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
    return torch.tensor([int.from_bytes(each, "little", signed=True) for each in digests])


def _damaged(file: Path, what: str) -> IndexMismatchError:
    return IndexMismatchError(
        f"{file} is missing or damaged ({what}). Remove {PATCHES_FILE} and {PATCHES_FOLDER} of the "
        f"index. {_REMEDY}"
    )
