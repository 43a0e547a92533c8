"""Rows of the training, validation and test split, and the texts that they share."""

from dataclasses import replace
from functools import cached_property

from raykd.config import ExperimentConfig
from raykd.config.data import MIN_TEST_ROWS
from raykd.data.overlap import Overlap, find_overlaps
from raykd.data.prepare_spec import PrepareSpec, spec_from_config
from raykd.data.prompts import PromptTokenizer
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.run.stages import StageRunner
from raykd.stage_names import Split
from raykd.task_kinds import label_codec


class SplitRows:
    """The splits of one experiment as tokens; each is made if it is not there."""

    def __init__(self, config: ExperimentConfig, runner: StageRunner) -> None:
        self._config, self._runner = config, runner

    def tokenised(self, split: Split, model: str, prompts: PromptTokenizer | None = None) -> TokenisedSet:
        """The rows of a split as a model's tokens, or as its prompts. Raises DataError for too few held-out test rows."""
        data, rows = self._config.data, self._runner.tokenise(self.specification(split, model, prompts), split)
        if split == "test" and isinstance(data.test, float) and rows.num_rows < MIN_TEST_ROWS:
            raise DataError(
                f"data.test = {data.test} holds {rows.num_rows} rows of data.train out, and a verdict needs {MIN_TEST_ROWS} or "
                "more; raise the fraction, give test files, or set data.test to validation"
            )
        return rows

    def specification(self, split: Split, model: str, prompts: PromptTokenizer | None = None) -> PrepareSpec:
        """The rows of a split, without texts of other splits where the job drops them."""
        data = self._config.data
        spec = replace(spec_from_config(data, split, model, label_codec(data)), prompts=prompts)
        if data.overlap != "drop":
            return spec
        others = self.held_out if split == "train" else self.held_out[1:] if split == "validation" else ()
        return replace(spec, exclude=tuple(self.tokenised(other, model, prompts).path for other in others))

    @property
    def held_out(self) -> tuple[Split, ...]:
        """The splits that no model is trained on."""
        return ("validation", "test") if self._config.data.has_test_set else ("validation",)

    @cached_property
    def overlaps(self) -> list[Overlap]:
        """Texts that the splits share. Raises DataError where the job refuses them."""
        splits: tuple[Split, ...] = ("train", *self.held_out)
        found = find_overlaps({split: [self.tokenised(split, self._config.student_models[0])] for split in splits})
        if found and self._config.data.overlap == "error":
            raise DataError(f"{'; '.join(map(str, found))}; remove them from the files, or set data.overlap to drop or warn")
        return found
