"""Metrics of one model on labelled rows: labels and logits in, named numbers out. They know neither torch nor files."""
