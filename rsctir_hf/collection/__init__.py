"""What is taken home of a search: collections of hits, and files of them for other programs.

Hits travel as features of a GeoJSON FeatureCollection (``scene.hits_geojson``,
``features.scene_features``): every writer takes these, and a collection keeps them.
"""
