"""A job file on a cluster, through Ray's job server: submit it, follow its output, ask for its status, stop it."""

from raykd.submit.job_submission import ENV_PASSTHROUGH, status, stop, submit

__all__ = ["ENV_PASSTHROUGH", "status", "stop", "submit"]
