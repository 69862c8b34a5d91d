"""The detector of objects seen from above: recipe, boxes, crops, training and average precision."""
