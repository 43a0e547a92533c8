"""Serving of trained classifiers: the same answers over HTTP on Ray Serve, and line by line without a server."""
