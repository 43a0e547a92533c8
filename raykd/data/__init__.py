"""Rows: read, prepared, joined, planned, fed to workers."""
