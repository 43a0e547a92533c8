"""Jobs on a cluster through Ray's job server: submit, follow, status, stop."""

from raykd.submit.job_submission import ENV_PASSTHROUGH, status, stop, submit

__all__ = ["ENV_PASSTHROUGH", "status", "stop", "submit"]
