"""The model card of a search's best model: ``README.md`` in its folder."""

from raykd.data import storage
from raykd.report.card import FRONT_MATTER, usage
from raykd.report.markdown import pipe_table
from raykd.task_kinds import task_kind
from raykd.tune.search_report import SearchReport
from raykd.tune.search_tables import conclusion, result_table, summary, value_table


def write_cards(report: SearchReport, folder: str) -> None:
    """Write the card of every model in ``folder``: of one in each domain, or of the only one."""
    for domain in [domain for domain in report.rows if domain] or [""]:
        place = storage.join(folder, domain) if domain else folder
        if storage.exists(storage.join(place, "config.json")):
            storage.write_bytes(storage.join(place, "README.md"), best_card(report, domain).encode())


def best_card(report: SearchReport, domain: str = "") -> str:
    """The card of the tuned model of a domain, or of the only one."""
    sections = [
        f"# {report.name}: tuned student" + (f", {domain}" if domain else ""),
        usage(task_kind(report.task)),
        "Trained with the values that a search found; of its seeds, the best one on the validation rows (`provenance.json`).",
        "## Evaluation",
        "\n\n".join(conclusion(report)),
        pipe_table(*result_table(report)),
        "## Values found",
        pipe_table(*value_table(report)),
        summary(report),
        "\n".join(f"- {key}: {value}" for key, value in report.environment.items()),
    ]
    return FRONT_MATTER + "\n" + "\n\n".join(section for section in sections if section) + "\n"
