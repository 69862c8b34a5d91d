"""Small rasters in many systems, written with rasterio itself and not with our own code."""

import warnings

import numpy as np
import rasterio
from rasterio import Affine

NORTH_UP = Affine(0.3, 0, 500_000, 0, -0.3, 5_000_000)
TURNED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.3, -0.3)
PLACES = {
    "UTM": ("EPSG:32632", NORTH_UP),
    "turned": ("EPSG:32632", TURNED),
    "degrees": ("EPSG:4326", Affine(3e-6, 0, 9.0, 0, -3e-6, 45.0)),
    "web map": ("EPSG:3857", Affine(0.42, 0, 1_000_000, 0, -0.42, 5_600_000)),
}


def picture(width=300, height=260, bands=3, seed=0):
    """Coloured blocks (bands, height, width), uint8, no value 0."""
    coarse = np.random.default_rng(seed).integers(1, 256, (bands, 9, 9), dtype=np.uint8)
    return np.ascontiguousarray(
        np.kron(coarse, np.ones((1, -(-height // 9), -(-width // 9)), np.uint8))[:, :height, :width]
    )


def write(path, values, *, crs="EPSG:32632", transform=NORTH_UP, **options):
    """Write (bands, height, width) and return the path."""
    profile = {
        "driver": "GTiff", "count": values.shape[0], "height": values.shape[1],
        "width": values.shape[2], "dtype": values.dtype, "crs": crs, "transform": transform,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile | options) as target:
            target.write(values)
    return path
