"""The rows of a Meta-KD run: one file for each part and domain, and their tokens."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from raykd.config import MetaKDConfig
from raykd.config.metakd import DomainDataConfig, ReviewsConfig
from raykd.config.stage_names import MetaStageName
from raykd.data import storage
from raykd.data.examples import RowParser
from raykd.data.prepare import PrepareSpec, prepare
from raykd.data.readers import scan
from raykd.data.schema import InputSchema
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.metakd.domain_files import check_domain_names, split_by_domain
from raykd.metakd.reviews import PARTS, Part, read_reviews, split_reviews, without_duplicates, write_reviews
from raykd.metakd.tasks import cache_folder, run_folder
from raykd.run.stage import Stage
from raykd.run.task import key_of
from raykd.task_kinds import SINGLE_LABEL


class Columns(NamedTuple):
    """What the split's files hold."""

    schema: str
    first_sequence: str
    second_sequence: str | None
    label: str
    domain: str


_REVIEW_COLUMNS = Columns("review:str:1,domain:str:1,sentiment:str:1", "review", None, "sentiment", "domain")


class DomainRows:
    """Splits once, prepares what is asked for."""

    def __init__(self, config: MetaKDConfig, say: Callable[[str], None], need: Callable[[MetaStageName], None]) -> None:
        """``need`` raises ConfigError when a stage has to be run that was not asked for."""
        check_domain_names(config.domains)
        self._config = config
        self._say = say
        self._need = need
        self._folder = storage.join(run_folder(config), "split")
        self._prepared: dict[tuple[Part, tuple[str, ...], str], TokenisedSet] = {}

    @property
    def cache(self) -> str:
        """Where prepared sets are kept, for all runs of a storage."""
        return cache_folder(self._config)

    @property
    def columns(self) -> Columns:
        """The columns of the split's files."""
        data = self._config.data
        if data is None:
            return _REVIEW_COLUMNS
        return Columns(data.input_schema, data.first_sequence, data.second_sequence, data.label, data.domain)

    def prepared(self, part: Part, domains: Sequence[str], model: str) -> TokenisedSet:
        """The rows of a part and some domains as a model's tokens. Raises DataError, ModelError, ConfigError."""
        key = (part, tuple(domains), model)
        if key not in self._prepared:
            columns = self.columns
            spec = PrepareSpec(
                files=tuple(self._files[part][domain] for domain in domains),
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
            self._prepared[key] = prepare(spec, self.cache)
        return self._prepared[key]

    def split(self) -> None:
        """Make the files, if they are not there."""
        self._files  # noqa: B018 (asking for it makes it)

    @cached_property
    def _files(self) -> dict[Part, dict[str, str]]:
        """Part and domain to file; made when first asked for."""
        source = self._config.reviews or self._config.data
        assert source is not None
        stage = Stage("split", self._folder, key_of(source.model_dump(mode="json"), self._config.domains, _content(source)))
        files = {
            part: {name: storage.join(self._folder, part, f"{name}.tsv") for name in self._config.domains} for part in PARTS
        }
        if stage.is_done():
            return files
        self._need("split")
        stage.begin()
        counts = self._from_reviews(source, files) if isinstance(source, ReviewsConfig) else self._from_tables(source)
        stage.finish(rows=counts)
        self._say("split: " + ", ".join(f"{part} {count} rows" for part, count in counts.items()))
        return files

    def _from_reviews(self, source: ReviewsConfig, files: dict[Part, dict[str, str]]) -> dict[str, int]:
        reviews = read_reviews(source.folder)
        found = sorted({review.domain for review in reviews})
        if sorted(self._config.domains) != found:
            raise DataError(f"{source.folder} has the domains {', '.join(found)}; domains = {list(self._config.domains)}")
        if source.remove_duplicates:
            reviews = without_duplicates(reviews)
        parts = split_reviews(reviews, seed=source.split_seed)
        for part, rows in parts.items():
            for domain, path in files[part].items():
                write_reviews([row for row in rows if row.domain == domain], path)
        return {part: len(rows) for part, rows in parts.items()}

    def _from_tables(self, source: DomainDataConfig) -> dict[str, int]:
        counts: dict[str, int] = {}
        schema = InputSchema.parse(source.input_schema)
        parser = RowParser(
            schema,
            first_sequence=source.first_sequence,
            second_sequence=source.second_sequence,
            label=source.label,
            codec=SINGLE_LABEL.label_codec(self._config.labels),
        )
        for part in PARTS:
            split_by_domain(
                getattr(source, part),
                schema=schema,
                parser=parser,
                domain=source.domain,
                domains=self._config.domains,
                skip_header=source.skip_header,
                folder=storage.join(self._folder, part),
            )
            counts[part] = sum(chunk.rows for chunk in scan(storage.expand([storage.join(self._folder, part, "*.tsv")]), False))
        return counts


def _content(source: ReviewsConfig | DomainDataConfig) -> list[str]:
    """Hashes of the source's content. Raises DataError when there is nothing."""
    if isinstance(source, ReviewsConfig):
        patterns: tuple[str, ...] = (storage.join(source.folder, "*", "*.review"),)
    else:
        patterns = (*source.train, *source.dev, *source.test)
    return [chunk.digest for chunk in scan(storage.expand(patterns), skip_header=False)]
