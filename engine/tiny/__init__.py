"""Tiny models with seeded random weights, in the real file formats, under the real file names."""
