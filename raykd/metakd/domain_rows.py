"""The rows of a Meta-KD run: one file for each split and domain, and their tokens."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from raykd.config import MetaKDConfig
from raykd.config.metakd import DomainDataConfig, ReviewsConfig
from raykd.data import storage
from raykd.data.examples import RowParser
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import scan
from raykd.data.schema import InputSchema
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.metakd.domain_files import check_classes, check_domain_names, split_by_domain
from raykd.metakd.reviews import Review, read_labelled_texts, read_reviews, split_reviews, without_duplicates, write_reviews
from raykd.run.stages import Stage, StageRunner
from raykd.stage_names import SPLITS, Split
from raykd.task_kinds import SINGLE_LABEL


class DomainColumns(NamedTuple):
    """Columns of the split's files."""

    schema: str
    first_sequence: str
    second_sequence: str | None
    label: str
    domain: str


_REVIEW_COLUMNS = DomainColumns("review:str:1,domain:str:1,sentiment:str:1", "review", None, "sentiment", "domain")


class DomainRows:
    """Splits the rows by domain once, and tokenises them on request."""

    def __init__(self, config: MetaKDConfig, runner: StageRunner) -> None:
        check_domain_names(config.domains)
        self._config = config
        self._runner = runner

    @property
    def columns(self) -> DomainColumns:
        """The columns of the split's files."""
        data = self._config.data
        if data is None:
            return _REVIEW_COLUMNS
        return DomainColumns(data.input_schema, data.first_sequence, data.second_sequence, data.label, data.domain)

    def tokenised(self, split: Split, domains: Sequence[str], model: str) -> TokenisedSet:
        """The rows of a split and some domains as a model's tokens. Raises DataError, ModelError, ConfigError."""
        label = split if tuple(domains) == self._config.domains else f"{split}, {', '.join(domains)}"
        return self._runner.tokenise(self.spec(split, domains, model), label)

    def spec(self, split: Split, domains: Sequence[str], model: str) -> PrepareSpec:
        """Specification of the rows of a split and some domains for a model."""
        columns = self.columns
        return PrepareSpec(
            files=tuple(self._files[split][domain] for domain in domains),
            input_schema=columns.schema,
            first_sequence=columns.first_sequence,
            second_sequence=columns.second_sequence,
            label=columns.label,
            codec=SINGLE_LABEL.label_codec(self._config.labels),
            skip_header=False,
            sequence_length=self._config.sequence_length,
            max_rejected_rows=0,
            tokenizer=model,
            keep=None,
            extra_columns=(columns.domain,),
        )

    def check_classes(self) -> None:
        """Raise DataError when a domain's training rows lack a class, whose prototype the instance weights need."""
        schema, label = InputSchema.parse(self.columns.schema), self.columns.label
        for domain, path in self._files["train"].items():
            check_classes(path, schema=schema, label=label, labels=self._config.labels, domain=domain)

    def split(self) -> None:
        """Make the files, if they are not there."""
        self._files  # noqa: B018 (asking for it makes it)

    @cached_property
    def _files(self) -> dict[Split, dict[str, str]]:
        """File of each split and domain; written at the first access."""
        source = self._config.reviews or self._config.data
        assert source is not None
        stage = self._runner.stage("split", source.model_dump(mode="json"), self._config.domains, _content(source))
        files = {
            split: {name: storage.join(stage.folder, split, f"{name}.tsv") for name in self._config.domains} for split in SPLITS
        }
        if stage.is_done():
            return files
        self._runner.require(stage.name)
        stage.begin()
        counts = self._from_reviews(source, files) if isinstance(source, ReviewsConfig) else self._from_tables(source, stage)
        stage.finish(rows=counts)
        self._runner.terminal.print_line("split: " + ", ".join(f"{split} {count} rows" for split, count in counts.items()))
        return files

    def _from_reviews(self, source: ReviewsConfig, files: dict[Split, dict[str, str]]) -> dict[str, int]:
        reviews = read_reviews(source.folder)
        found = sorted({review.domain for review in reviews})
        if sorted(self._config.domains) != found:
            raise DataError(f"{source.folder} has the domains {', '.join(found)}; domains = {list(self._config.domains)}")
        if source.remove_duplicates:
            reviews = without_duplicates(reviews)
        splits = split_reviews(reviews, seed=source.split_seed)
        if source.test is not None:
            splits["test"] = self._test_reviews(source.test)
        for split, rows in splits.items():
            for domain, path in files[split].items():
                write_reviews([row for row in rows if row.domain == domain], path)
        return {split: len(rows) for split, rows in splits.items()}

    def _test_reviews(self, patterns: Sequence[str]) -> list[Review]:
        """Further test rows of every domain. Raises DataError when a domain has none, or a file is of no domain."""
        reviews = read_labelled_texts(storage.expand(patterns))
        found = sorted({review.domain for review in reviews})
        if found != sorted(self._config.domains):
            raise DataError(
                f"reviews.test has files of the domains {', '.join(found)}; domains = {list(self._config.domains)}: give files "
                "for each, whose names begin with the domain"
            )
        return reviews

    def _from_tables(self, source: DomainDataConfig, stage: Stage) -> dict[str, int]:
        counts: dict[str, int] = {}
        schema = InputSchema.parse(source.input_schema)
        parser = RowParser(
            schema,
            first_sequence=source.first_sequence,
            second_sequence=source.second_sequence,
            label=source.label,
            codec=SINGLE_LABEL.label_codec(self._config.labels),
        )
        for split in SPLITS:
            folder = storage.join(stage.folder, split)
            split_by_domain(
                getattr(source, split),
                schema=schema,
                parser=parser,
                domain=source.domain,
                domains=self._config.domains,
                skip_header=source.skip_header,
                folder=folder,
            )
            counts[split] = sum(chunk.rows for chunk in scan(storage.expand([storage.join(folder, "*.tsv")]), False))
        return counts


def _content(source: ReviewsConfig | DomainDataConfig) -> list[str]:
    """Hashes of the source's content. Raises DataError when there is nothing."""
    if isinstance(source, ReviewsConfig):
        patterns: tuple[str, ...] = (storage.join(source.folder, "*", "*.review"), *(source.test or ()))
    else:
        patterns = (*source.train, *source.validation, *source.test)
    return [chunk.digest for chunk in scan(storage.expand(patterns), skip_header=False)]
