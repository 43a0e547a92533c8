"""Imports of a process that scores rows."""


def import_scorer() -> None:
    """Import everything that a scoring job needs but the code of its models' own architecture."""
    from raykd.models.model_code import import_model_code

    import_model_code()
    import raykd.predict.answer_scorer  # noqa: F401 (the import is the purpose)
