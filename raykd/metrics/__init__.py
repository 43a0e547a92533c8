"""Metrics of one model on labelled rows: labels and logits in, named numbers out. Imports neither torch nor file access."""
