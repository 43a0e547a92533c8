"""The training loop, its objectives and engines, checkpoints."""
