"""A search's report as files."""

import io

import pyarrow.csv
import pyarrow.parquet

from raykd.data import storage
from raykd.report.files import write_page
from raykd.tune.search_html import search_html
from raykd.tune.search_report import SearchReport
from raykd.tune.search_tables import markdown, trial_table


def write_search(report: SearchReport, folder: str) -> None:
    """Write ``trials.csv``, ``trials.parquet``, ``report.md``, ``report.html`` and, last, ``report.json``."""
    table = trial_table(report)
    for name, write in (("trials.csv", pyarrow.csv.write_csv), ("trials.parquet", pyarrow.parquet.write_table)):
        buffer = io.BytesIO()
        write(table, buffer)
        storage.write_bytes(storage.join(folder, name), buffer.getvalue())
    write_page(storage.join(folder, "report.md"), lambda: markdown(report))
    write_page(storage.join(folder, "report.html"), lambda: search_html(report))
    storage.write_bytes(storage.join(folder, "report.json"), report.model_dump_json(indent=1).encode())


def read_search(folder: str) -> SearchReport:
    """Read the report of a folder."""
    return SearchReport.model_validate(storage.read_json(storage.join(folder, "report.json")))
