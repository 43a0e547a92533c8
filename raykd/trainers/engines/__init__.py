"""Engines: the backward pass, gradients, optimizer and weights of a training, in plain torch or DeepSpeed."""
