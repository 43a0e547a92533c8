"""Documents against the code: commands that parse, links that resolve, settings that exist."""

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from raykd.cli import app
from raykd.easynlp.flags import parse_flags
from tests.documents import DOCUMENTS, GUIDES, ROOT, Command, blocks, commands, headings, links
from tests.worked_examples import PAGE as EXAMPLES_PAGE
from tests.worked_examples import Step, examples, is_printed, needed_by, run_steps, save_models, write_files

COMMANDS = sorted({command for path in DOCUMENTS for command in commands(path)}, key=str)
INDEX = ROOT / "docs" / "index.md"
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
LINKS = [(path, link) for path in DOCUMENTS for link in links(path)]


def of(program: str) -> list[Command]:
    return [command for command in COMMANDS if command.words[: len(program.split())] == tuple(program.split())]


def parse(words: tuple[str, ...], *, whole: bool) -> None:
    """Parse a command of raykd as its own command line does, without running it; a mention may lack arguments."""
    group = typer.main.get_command(app)
    name, *arguments = [word for word in words if word != "..."]
    command = group.get_command(typer.Context(group), name)  # type: ignore[attr-defined]  # the application is a group
    assert command is not None, f"raykd has no command {name}"
    if name == "easynlp":
        if arguments and arguments[0].startswith("--") and "=..." not in arguments[0]:
            parse_flags(arguments)
        return
    try:
        command.make_context(name, list(arguments))
    except typer.BadParameter as error:
        if whole or type(error).__name__ != "MissingParameter":
            raise


@pytest.mark.parametrize("command", of("raykd"), ids=str)
def test_a_command_of_raykd_parses(command: Command) -> None:
    parse(command.words[1:], whole=command.whole)


@pytest.mark.parametrize(
    "words", [("run", "x.yaml", "--stages", "teacher"), ("rnu", "x.yaml"), ("export",), ("serve", "a", "b")]
)
def test_a_command_that_is_none_is_found(words: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match=r"(?i)no command|no such option|missing parameter|unexpected extra"):
        parse(words, whole=True)


def test_an_option_in_a_sentence_is_checked_too() -> None:
    parse(("export",), whole=False)
    with pytest.raises(Exception, match=r"(?i)no such option"):
        parse(("export", "--fromat", "onnx"), whole=False)


@pytest.mark.parametrize("command", of("raykd"), ids=str)
def test_a_job_file_of_this_repository_exists(command: Command) -> None:
    assert all((ROOT / word).is_file() for word in command.words if re.match(r"(jobs|clusters)/.*\.yaml$", word))


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_a_target_of_make_exists(command: Command) -> None:
    assert command.words[1] in TARGETS


@pytest.mark.parametrize("command", of("python -m"), ids=str)
def test_a_program_of_this_repository_exists(command: Command) -> None:
    module = command.words[2]
    assert not module.startswith(("raykd", "benchmarks")) or importlib.util.find_spec(module) is not None


def test_every_guide_is_in_the_navigation_of_the_site() -> None:
    listed = [
        name for block in blocks(INDEX) if block.language == "{toctree}" for name in re.findall(r"^\w+$", block.text, re.M)
    ]
    assert sorted(listed) == sorted(path.stem for path in GUIDES if path != INDEX)


@pytest.mark.parametrize(("document", "link"), LINKS, ids=[f"{path.name}:{link}" for path, link in LINKS])
def test_a_link_resolves(document: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    assert target.exists()
    assert not anchor or anchor in headings(target)


JOB_FILES = [(title, step) for title, steps in examples().items() for step in steps if step.language == "yaml"]


def test_every_kind_of_user_has_an_example() -> None:
    """Every section runs commands, and is linked from the table at the head of the page."""
    found = examples()
    assert len(found) >= 10
    assert all(any(step.language == "bash" for step in steps) for steps in found.values())
    assert {f"#{title}".lower().replace(" ", "-") for title in found} <= set(links(EXAMPLES_PAGE))


@pytest.mark.parametrize(("title", "step"), JOB_FILES, ids=[step.file for _, step in JOB_FILES])
def test_the_job_of_an_example_is_accepted(title: str, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, columns, labels, models and settings, as they are checked before Ray starts; tests/ray runs the examples."""
    from raykd.config import is_search, load_job, load_tune
    from raykd.config.experiment import ExperimentConfig
    from raykd.distill.pipeline import DistillationPipeline

    monkeypatch.chdir(tmp_path)
    shown = [*needed_by(title), *examples()[title]]
    write_files(shown, tmp_path)
    save_models(tmp_path, shown)
    assert step.file is not None
    config = load_tune(step.file).base if is_search(step.file) else load_job(step.file)
    assert isinstance(config, ExperimentConfig)
    DistillationPipeline(config).check()


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("student, KD  71.2 ± 0.4", "│ student, KD │ 9.15 ± 12 │"),
        ("report: runs/...", "report: runs/reviews/report/report.html"),
        ("kd of 3 rows", "the kd of 1,000 rows"),
    ],
)
def test_an_output_is_compared_by_its_shape(line: str, printed: str) -> None:
    assert is_printed(line, f"first\n{printed}\nlast")
    assert not is_printed(line, printed.replace("d", "x").replace("r", "x"))
    assert not is_printed(line, "\n".join(printed))


@pytest.mark.parametrize(
    ("commands", "shown", "reason"),
    [("echo 3 rows; false", "3 rows", "3 rows"), ("echo 3 rows", "4 files", "4 files.* not in")],
)
def test_a_command_that_fails_and_an_output_that_is_not_there_are_found(
    commands: str, shown: str, reason: str, tmp_path: Path
) -> None:
    run_steps([Step(None, "bash", "echo 12 rows"), Step(None, "text", "3 rows\n")], tmp_path)
    with pytest.raises(AssertionError, match=reason):
        run_steps([Step(None, "bash", commands), Step(None, "text", shown)], tmp_path)
