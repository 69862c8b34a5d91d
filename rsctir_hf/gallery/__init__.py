"""Galleries: embedding pictures and sentences, finding the nearest, saving what was embedded."""
