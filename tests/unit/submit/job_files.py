"""Job files to submit, and the head's command for them."""

from pathlib import Path


def head_command(job: Path) -> str:
    """The command at the head of a job file that submits it, its lines joined."""
    comments = [line.removeprefix("#").strip() for line in job.read_text().splitlines() if line.startswith("#")]
    start = next(i for i, line in enumerate(comments) if "ray job submit" in line)
    end = next(i for i, line in enumerate(comments) if i >= start and not line.endswith("\\"))
    return " ".join(line.removesuffix("\\").strip() for line in comments[start : end + 1])


JOB = """
name: demo
storage: /shared/runs
data: {input_schema: "label:str:1,sent:str:1", first_sequence: sent, label: label, train: [/shared/train.tsv]}
teacher: {model: teacher}
student: {model: student}
"""
