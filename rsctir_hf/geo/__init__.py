"""Rasters on the map: window arithmetic, ground sample distances, GeoJSON, and GeoTIFF windows."""
