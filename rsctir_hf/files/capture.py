"""When and with what a picture was taken, by its own word: EXIF, or the tags of a TIFF.

Only the head of a file is read, and nothing of a format that keeps it elsewhere.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from PIL import ExifTags, Image

DATE, SENSOR = "date", "sensor"
_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp"))
_TAKEN = (ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized)
#: What rasters call them, in GDAL's metadata.
RASTER_DATES = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME")
RASTER_SENSORS = ("SATELLITEID", "SENSORID", "TIFFTAG_MODEL")


def read_capture(path: str | Path) -> dict[str, str]:
    """Return ``date`` (ISO 8601) and ``sensor`` (the camera) of a picture file, as far as it says.

    A file that cannot be read says nothing.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                exif = picture.getexif()
                more = exif.get_ifd(ExifTags.IFD.Exif)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, Image.DecompressionBombError):
        return {}
    dates = [*map(more.get, _TAKEN), exif.get(ExifTags.Base.DateTime)]
    return capture_of(dates, [exif.get(ExifTags.Base.Model)])


def capture_of_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return ``date`` and ``sensor`` of a raster, by its tags in GDAL."""
    return capture_of(map(tags.get, RASTER_DATES), map(tags.get, RASTER_SENSORS))


def capture_of(dates: Iterable[object], sensors: Iterable[object]) -> dict[str, str]:
    """Return the first date and the first name that say something."""
    said = {
        DATE: next(filter(None, map(_date, dates)), ""),
        SENSOR: next((name for each in sensors if (name := _plain(each))), ""),
    }
    return {name: value for name, value in said.items() if value}


def _date(said: object) -> str:
    """Return a date in ISO 8601, with its time where it has one; empty where it is none."""
    parts = re.findall(r"\d+", str(said or ""))[:6]
    try:
        moment = datetime(*map(int, parts))  # type: ignore[arg-type]  # three to six numbers
    except (ValueError, TypeError, OverflowError):
        return ""
    return moment.isoformat() if len(parts) > 3 else moment.date().isoformat()


def _plain(said: object) -> str:
    return "".join(letter for letter in str(said or "") if letter.isprintable()).strip()
