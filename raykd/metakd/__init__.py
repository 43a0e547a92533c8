"""Meta-KD: one meta-teacher over many domains, a student for each (Pan et al. 2021, arXiv:2012.01266)."""

DOMAIN_HEAD = "domain_head"
"""Name of the domain head among the modules that a task trains, and of its file."""

__all__ = ["DOMAIN_HEAD"]
