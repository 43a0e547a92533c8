"""Execution of runs: stages, worker groups and training tasks, for every job kind.

``raykd.run(job)`` calls :func:`raykd.api.jobs.run`, which runs a job.
"""

from raykd.callable_package import make_callable

make_callable(__name__)
