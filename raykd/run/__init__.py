"""Execution of runs: stages, worker groups and training tasks, for every job kind."""
