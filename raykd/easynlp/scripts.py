"""EasyNLP's Meta-KD scripts by name; each maps its flags to calls of raykd."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from raykd.config.paths import expand_home
from raykd.easynlp.launcher import Launched
from raykd.errors import ConfigError

Script = Callable[[Launched], None]


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are ConfigError."""

    def __init__(self, script: str) -> None:
        super().__init__(prog=f"raykd easynlp {script}", allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with the usage."""
        raise ConfigError(f"{self.prog}: {message}; {self.format_usage().strip()}")


def generate_senti_data(launched: Launched) -> None:
    """Convert raw reviews to train.tsv, dev.tsv and test.tsv."""
    from raykd.easynlp.metakd_files import split

    parser = Parser("generate_senti_data")
    parser.add_argument(
        "--input", type=expand_home, default="data/sorted_data_acl", help="folder of <domain>/{positive,negative}.review"
    )
    parser.add_argument("--output", type=expand_home, default="data/SENTI", help="folder of train.tsv, dev.tsv and test.tsv")
    parser.add_argument("--remove_duplicates", action="store_true", help="keep a text that stands there twice once")
    given = parser.parse_args(launched.arguments)
    split(given.input, given.output, remove_duplicates=given.remove_duplicates)


def extract_embeddings(launched: Launched) -> None:
    """Write every row's embedding to train.embeddings.tsv."""
    from raykd.easynlp.metakd_files import embed

    parser = Parser("extract_embeddings")
    for name in ("bert_path", "input", "output"):
        parser.add_argument(f"--{name}", type=expand_home, required=True)
    parser.add_argument("--task_name", default="mnli", choices=("mnli", "senti"))
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--gpu", type=int, default=0, help="any number asks for a GPU; without one the CPU computes")
    given = parser.parse_args(launched.arguments)
    embed(
        given.input,
        given.output,
        encoder=given.bert_path,
        layout=given.task_name,
        sequence_length=given.max_seq_length,
        batch_rows=given.batch_size,
    )


def generate_meta_weights(launched: Launched) -> None:
    """Convert train.embeddings.tsv to train_with_weights.tsv."""
    from raykd.easynlp.metakd_files import weigh

    parser = Parser("generate_meta_weights")
    parser.add_argument("embeddings", type=expand_home, help="train.embeddings.tsv")
    parser.add_argument("output", type=expand_home, help="train_with_weights.tsv")
    parser.add_argument("domains", help="all domains, joined by commas")
    parser.add_argument("--kind", default="paper", choices=("paper", "easynlp"), help="prototypes by class, or EasyNLP's")
    parser.add_argument("--alpha", type=float, default=0.5, help="weight of the own domain's prototype")
    given = parser.parse_args(launched.arguments)
    weigh(given.embeddings, given.output, domains=given.domains.split(","), kind=given.kind, alpha=given.alpha)


def generate_dev_file(launched: Launched) -> None:
    """Write dev.tsv in the columns of train_with_weights.tsv."""
    from raykd.easynlp.metakd_files import standardise

    parser = Parser("generate_dev_file")
    for name in ("input", "output"):
        parser.add_argument(f"--{name}", type=expand_home, required=True)
    given = parser.parse_args(launched.arguments)
    standardise(given.input, given.output)


def _with_flags(script: str) -> Script:
    def run(launched: Launched) -> None:
        from raykd.easynlp.metakd_commands import run_script

        run_script(script, [*launched.worker_flags, *launched.arguments])

    return run


SCRIPTS: Mapping[str, Script] = {
    "generate_senti_data": generate_senti_data,
    "extract_embeddings": extract_embeddings,
    "generate_meta_weights": generate_meta_weights,
    "generate_dev_file": generate_dev_file,
    **{name: _with_flags(name) for name in ("meta_teacher_train", "meta_student_distill", "main_evaluate")},
}


def names() -> Sequence[str]:
    """All scripts by name."""
    return list(SCRIPTS)
