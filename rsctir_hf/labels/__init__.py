"""What pictures show, by labels: queries of labels, codes that they share with pictures, scores."""
