"""Labels of a job: found in its training files where it lists none, and the rows of each class."""

from raykd.config import ExperimentConfig
from raykd.data.class_balance import class_counts
from raykd.data.found_labels import find_labels, list_labels
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError, list_values
from raykd.run.task import cache_folder

IMBALANCE = 10
"""Ratio of the largest to the smallest class from which a run warns."""


def with_found_labels(config: ExperimentConfig) -> tuple[ExperimentConfig, dict[str, int]]:
    """The job with the labels of its training files, and their rows; the job as it is, and {}, where it lists labels.

    Raises DataError when the files have no usable labels; see :func:`raykd.data.found_labels.find_labels`.
    """
    if config.data.labels is not None:
        return config, {}
    counts = find_labels(config.data, cache_folder(config))
    try:
        data = config.data.with_labels(tuple(counts))
    except ValueError as error:
        raise DataError(f"{error} (data.labels is left out, so these are the labels of data.train)") from None
    return config.model_copy(update={"data": data}), counts


def class_lines(rows: TokenisedSet, config: ExperimentConfig, *, found: bool) -> list[str]:
    """The training rows of each class, and a warning where the largest has ``IMBALANCE`` times those of the smallest.

    Empty unless rows have one class each. Raises DataError when all rows have one class, and when no training row has a label
    that was ``found`` in the files.
    """
    if rows.labels is None or config.data.traits.outputs != "classes":
        return []
    counts = dict(zip(rows.labels, class_counts(rows).tolist(), strict=True))
    present = [label for label, count in counts.items() if count]
    if len(present) == 1:
        raise DataError(
            f"all {rows.num_rows:,} training rows have the label {present[0]!r}: a classifier needs rows of two classes or "
            "more; check data.train, data.label and data.labels"
        )
    if found and len(present) < len(counts):
        absent = list_values([label for label, count in counts.items() if not count])
        raise DataError(
            f"only rows held out for validation or test have the label {absent}; add training rows of it, or list data.labels"
        )
    warning = _imbalance(counts, config)
    return [f"training rows by class: {list_labels(counts)}", *([warning] if warning else [])]


def _imbalance(counts: dict[str, int], config: ExperimentConfig) -> str | None:
    smallest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[largest] < IMBALANCE * counts[smallest]:
        return None
    balanced = any(one.student.training.class_weights != "none" for one in config.student_variants)
    advice = "" if balanced else "; student.training.class_weights: balanced gives every class the same weight"
    return (
        f"warning: class {largest} has {counts[largest]:,} training rows and class {smallest} {counts[smallest]:,}: accuracy "
        f"hides how rare classes fare, macro F1 shows it{advice}"
    )
