"""EasyNLP's command line on raykd: flags in, EasyNLP's files and lines out."""

from raykd.easynlp.command import main

__all__ = ["main"]
