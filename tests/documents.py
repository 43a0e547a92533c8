"""Commands, links and headings of the project's documents, read without a Markdown library."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES]
_FENCE = re.compile(r"^( *)```([\w{}-]*)\n(.*?)^\1```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: Path
    language: str
    text: str

    @property
    def is_shell(self) -> bool:
        """True for blocks of commands: their language is bash, or not given."""
        return self.language in ("", "bash")


@dataclass(frozen=True)
class Command:
    """A command of a document, as a list of words."""

    document: Path
    words: tuple[str, ...]
    whole: bool
    """False for a mention in a sentence, which may leave out arguments."""

    def __str__(self) -> str:
        return f"{self.document.name}: {shlex.join(self.words)}"


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    return [Block(document, language, text) for _, language, text in _FENCE.findall(document.read_text())]


def prose(document: Path) -> str:
    """The text of a document without its fenced blocks."""
    return _FENCE.sub("", document.read_text())


def shell_commands(block: Block) -> list[list[str]]:
    """The commands of a block as words: one per line, a line that ends with a backslash or inside quotes goes on."""
    return [list(words) for words in _commands(block.text)]


def _commands(text: str) -> Iterator[list[str]]:
    pending = ""
    for line in text.replace("\\\n", " ").splitlines():
        pending += line
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quote is open
            pending += "\n"
            continue
        pending = ""
        part: list[str] = []
        for word in words:
            if word in ("&&", "|", ";"):
                yield part
                part = []
            elif word in (">", "<", "&"):
                break
            else:
                part.append(word)
        if part:
            yield part


def commands(document: Path) -> Iterator[Command]:
    """All commands of a document: whole ones from shell blocks, mentions from code in sentences."""
    for block in blocks(document):
        if block.is_shell:
            yield from (Command(document, tuple(words), whole=True) for words in shell_commands(block))
    for code in re.findall(r"`([^`\n]+)`", prose(document)):
        if re.match(r"(raykd|make|python -m) ", code):
            yield Command(document, tuple(shlex.split(code)), whole=False)


def headings(document: Path) -> list[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?) *$", prose(document), re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def links(document: Path) -> list[str]:
    """Targets of a document's links, without those to other sites."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)) if not re.match(r"\w+:", link)]
