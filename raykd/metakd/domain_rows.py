"""The rows of a Meta-KD run: one file for each split and domain, and their tokens."""

from collections.abc import Sequence
from functools import cached_property

from raykd.config import MetaKDConfig
from raykd.config.metakd import DomainDataConfig, ReviewsConfig
from raykd.data import storage
from raykd.data.chunks import RejectedRow
from raykd.data.headers import check_files, check_skip_header
from raykd.data.prepare import RejectedRowError
from raykd.data.prepare_spec import PrepareSpec, file_format
from raykd.data.readers import scan
from raykd.data.sources import expand_data
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.metakd.domain_files import DomainColumns, check_classes, check_domain_names, place_in_source, split_by_domain
from raykd.metakd.reviews import Review, read_labelled_texts, read_reviews, split_reviews, without_duplicates, write_reviews
from raykd.run.stages import StageRunner
from raykd.stage_names import SPLITS, Split
from raykd.task_kinds import SINGLE_LABEL

_REVIEW_COLUMNS = DomainColumns("review:str:1,domain:str:1,sentiment:str:1", "review", None, "sentiment", "domain")

_REMEDY = "correct the row, or remove it"


class DomainRows:
    """Splits the rows by domain once, and tokenises them on request."""

    def __init__(self, config: MetaKDConfig, runner: StageRunner) -> None:
        check_domain_names(config.domains)
        self._config = config
        self._runner = runner

    @cached_property
    def columns(self) -> DomainColumns:
        """The columns of the split's files."""
        data = self._config.data
        return _REVIEW_COLUMNS if data is None else _columns(data).of_domain_files(_patterns(data), file_format(data))

    def tokenised(self, split: Split, domains: Sequence[str], model: str) -> TokenisedSet:
        """The rows of a split and some domains as a model's tokens. Raises DataError, ModelError, ConfigError."""
        label = split if tuple(domains) == self._config.domains else f"{split}, {', '.join(domains)}"
        try:
            return self._runner.tokenise(self.spec(split, domains, model), label)
        except RejectedRowError as error:
            raise DataError(f"{self._place(split, error.row)}: {error.row.reason}; {_REMEDY}") from None

    def _place(self, split: Split, row: RejectedRow) -> str:
        """Place of a row of the split's files in the job's own files; that in the split's files where the job has reviews."""
        data, files = self._config.data, self._files[split]
        domain = next((name for name, path in files.items() if storage.absolute(path) == row.file), None)
        if data is None or domain is None:
            return row.place
        return place_in_source(
            row.line - 1,  # a line for each row, without a header
            domain,
            getattr(data, split),
            _columns(data),
            files=file_format(data),
            skip_header=data.skip_header,
            labels=self._config.labels,
        )

    def spec(self, split: Split, domains: Sequence[str], model: str) -> PrepareSpec:
        """Specification of the rows of a split and some domains for a model."""
        columns = self.columns
        return PrepareSpec(
            files=tuple(self._files[split][domain] for domain in domains),
            input_schema=columns.input_schema,
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
            format=columns.file_format,
            remedy=_REMEDY,
        )

    def check_classes(self) -> None:
        """Raise DataError when a domain's training rows lack a class, whose prototype the instance weights need."""
        for domain, path in self._files["train"].items():
            check_classes(path, self.columns, labels=self._config.labels, domain=domain)

    def split(self) -> None:
        """Make the files, if they are not there."""
        self._files  # noqa: B018 (asking for it makes it)

    @cached_property
    def _files(self) -> dict[Split, dict[str, str]]:
        """File of each split and domain; written at the first access."""
        source = self._config.reviews or self._config.data
        assert source is not None
        inputs = (source.model_dump(mode="json"), self._config.domains, self._config.labels)
        stage = self._runner.stage("split", *inputs, _content(source, self._config.labels))
        files = {
            split: {name: storage.join(stage.folder, split, f"{name}{self.columns.suffix}") for name in self._config.domains}
            for split in SPLITS
        }
        if stage.is_done():
            return files
        self._runner.require(stage.name)
        stage.begin()
        counts = self._from_reviews(source, files) if isinstance(source, ReviewsConfig) else self._from_files(source, files)
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

    def _from_files(self, source: DomainDataConfig, files: dict[Split, dict[str, str]]) -> dict[str, int]:
        return {
            split: sum(
                split_by_domain(
                    getattr(source, split),
                    _columns(source),
                    files[split],
                    written=self.columns,
                    files=file_format(source),
                    skip_header=source.skip_header,
                    labels=self._config.labels,
                ).values()
            )
            for split in SPLITS
        }


def _columns(data: DomainDataConfig) -> DomainColumns:
    return DomainColumns(data.input_schema, data.first_sequence, data.second_sequence, data.label, data.domain)


def _patterns(data: DomainDataConfig) -> tuple[str, ...]:
    return (*data.train, *data.validation, *data.test)


def _content(source: ReviewsConfig | DomainDataConfig, labels: Sequence[str]) -> list[str]:
    """Hashes of the source's content. Raises DataError when there is nothing, and for columns and headers that do not fit."""
    if isinstance(source, DomainDataConfig):
        paths, columns, files = expand_data(_patterns(source)), _columns(source), file_format(source)
        check_skip_header(paths, files, skip_header=source.skip_header)
        # here too, since a finished stage does not read the rows: a header that is skipped is not part of the hashes
        check_files(paths, columns.schema, columns.parser(labels), files, skip_header=source.skip_header)
        chunks = scan(paths, source.skip_header, files=files)
    else:
        patterns = (storage.join(source.folder, "*", "*.review"), *(source.test or ()))
        chunks = scan(storage.expand(patterns), skip_header=False)
    return [chunk.digest for chunk in chunks]
