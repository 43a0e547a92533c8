"""``raykd.tune``."""

from collections.abc import Mapping
from typing import Any

from raykd.api.data_objects import with_data
from raykd.api.job_input import GivenOverrides, JobInput, tune_content
from raykd.api.search_result import SearchResult
from raykd.config import TuneConfig
from raykd.config.load_tune import build_tune
from raykd.data import storage


def tune(
    job: JobInput,
    *,
    data: Mapping[str, Any] | None = None,
    overrides: GivenOverrides | None = None,
    root: str | None = None,
) -> SearchResult:
    """Search hyperparameters, as ``raykd tune`` does: finished trials are skipped.

    ``job`` is the path of a search's file, a mapping with its content (``kind: tune``), or a configuration object. ``data``
    replaces the files of the searched job, ``overrides`` with ``base.`` before the path its values; see :func:`raykd.run`.

    Raises RaykdError for anything a user can cause. After a KeyboardInterrupt the same call resumes.
    """
    content, source = tune_content(job, overrides)

    def build(base: Any) -> TuneConfig:
        return build_tune({**content, "base": base}, source=source, root=root)

    base = content.get("base")
    config = build(base) if data is None else with_data(base, data, build)
    from raykd.api.notebook_terminal import call_terminal
    from raykd.tune.driver import run_search

    report = run_search(config, terminal=call_terminal())
    return SearchResult(storage.join(storage.absolute(config.base.storage), config.name), config, report)
