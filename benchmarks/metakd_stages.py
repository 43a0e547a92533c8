"""Cost of the stages of Meta-KD, side by side in one process: `python -m benchmarks.metakd_stages`.

Prediction-layer distillation against plain fine-tuning of the same student on the same rows, in turns; intermediate-layer
distillation with a live teacher, with records of it, and the student's step alone. Amazon reviews and the two small models
beside the checkout; one thread.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from raykd.config import ComputeConfig, FineTuneConfig, TorchEngineConfig, TrainingConfig
from raykd.config.metakd_objectives import MetaDistillationObjective, MetaTeacherObjective, PredictionObjective
from raykd.config.task_objective import TaskObjective
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.metakd.embeddings import Embedder
from raykd.metakd.prototypes import prototypes, weigh
from raykd.metakd.reviews import read_reviews, write_reviews
from raykd.predict import ScoreJob, score_locally
from raykd.run.task import ModelFolder, TaskInputs, TaskLabels, TrainTask, make_task
from raykd.run.train_task import run_task
from raykd.task_kinds import SINGLE_LABEL
from raykd.trainers.context import local_context

SHARED = Path(__file__).resolve().parents[2] / "shared"
LABELS, DOMAINS = ("negative", "positive"), ("books", "dvd", "electronics", "kitchen")
WARM_UP = 10
"""Steps that do not count."""


class Bench:
    """Rows, weights and a teacher in a folder, and trainings on them."""

    def __init__(self, folder: Path, *, rows: int, teacher: str, student: str) -> None:
        reviews = read_reviews(str(SHARED / "data" / "amazon"))
        write_reviews(reviews[:: len(reviews) // rows][:rows], str(folder / "rows.tsv"))
        self.folder, self.teacher, self.student = folder, teacher, student
        self.rows = prepare(self._spec(), str(folder / "cache"))
        self.weights = self._weights()
        self.batch = 32
        self.meta = self.train("meta", MetaTeacherObjective(num_domains=len(DOMAINS)), model=teacher, steps=4)
        self.logits = score_locally([ScoreJob(self.meta.model_folder, self.rows.path, str(folder / "logits"))])[0]

    def _spec(self) -> PrepareSpec:
        return PrepareSpec(
            files=(str(self.folder / "rows.tsv"),), input_schema="review:str:1,domain:str:1,sentiment:str:1",
            first_sequence="review", second_sequence=None, label="sentiment", skip_header=False,
            codec=SINGLE_LABEL.label_codec(LABELS),
            sequence_length=128, max_rejected_rows=0, tokenizer=self.teacher, keep=None, extra_columns=("domain",),
        )  # fmt: skip

    def _weights(self) -> SideTable:
        jobs = [ScoreJob(self.teacher, self.rows.path, str(self.folder / "embeddings"))]
        (embeddings,) = score_locally(jobs, scorer=Embedder)
        found = prototypes(self.rows, embeddings, domain="domain", domains=DOMAINS)
        out = str(self.folder / "weights")
        return weigh(self.rows, embeddings, found, domain="domain", domains=DOMAINS, out=out)

    def train(self, name: str, objective: TaskObjective, *, steps: int, model: str = "", logits: bool = False) -> TrainTask:
        """Train for some steps."""
        task = make_task(
            name=name, folder=str(self.folder / name), model=ModelFolder(model or self.student, name),
            labels=TaskLabels(LABELS), inputs=TaskInputs(self.rows, None, self.logits if logits else None, (self.weights,)),
            objective=objective, seed=1, compute=ComputeConfig(engine=TorchEngineConfig(), precision="fp32"),
            training=TrainingConfig(epochs=steps, max_steps=steps, batch_size=self.batch, log_every=1),
        )  # fmt: skip
        with local_context() as context:
            run_task(task, context, build_feed=local_feed, build_objective=build_meta_objective)
        return task


def history(task: TrainTask, event: str) -> list[dict[str, Any]]:
    """Its records of one kind."""
    records = [json.loads(line) for line in Path(task.history).read_text().splitlines()]
    return [record for record in records if record["event"] == event]


def rate(task: TrainTask, prepared: TokenisedSet, *, first: int = WARM_UP) -> float:
    """Rows a second after ``first`` steps; records count rows and seconds from the start."""
    size, per_epoch = task.training.batch_size, -(-prepared.num_rows // task.training.batch_size)

    def rows(step: int) -> int:
        return min(step // per_epoch * prepared.num_rows + step % per_epoch * size, step * size)

    records = history(task, "train")
    start, end = records[first - 1], records[-1]
    seconds = [rows(one["step"]) / one["rows_per_second"] for one in (start, end)]
    return float((rows(end["step"]) - rows(start["step"])) / (seconds[1] - seconds[0]))


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    models = SHARED / "models"
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as folder:
        bench = Bench(Path(folder), rows=given.rows, teacher=str(models / "review-mini"), student=str(models / "review-tiny"))
        epoch = -(-bench.rows.num_rows // bench.batch)
        steps = WARM_UP + epoch
        print(f"{bench.rows.num_rows} reviews of at most {bench.rows.max_length} tokens, batch {bench.batch}, 1 thread, rows/s")
        ratios = []
        for repeat in range(given.repeats):
            plain = rate(bench.train(f"plain{repeat}", FineTuneConfig(), steps=steps), bench.rows)
            objective = PredictionObjective(temperature=2.0, expertise=True)
            second = rate(bench.train(f"second{repeat}", objective, steps=steps, logits=True), bench.rows)
            ratios.append(second / plain)
            print(f"fine-tuning {plain:.1f}  stage second {second:.1f}  ratio {second / plain:.3f}")
        print(f"stage second / fine-tuning: median {statistics.median(ratios):.3f}")
        features = {
            "teacher": bench.meta.model_folder,
            "domain_head": f"{bench.meta.folder}/domain_head.safetensors",
            "num_domains": len(DOMAINS),
        }
        found = {}
        for source in ("live", "stored"):
            objective_first = MetaDistillationObjective(teacher_states=source, **features)
            task = bench.train(source, objective_first, steps=steps + epoch)
            found[source] = rate(task, bench.rows, first=epoch + WARM_UP)  # records are made in the first epoch
        auto = bench.train("auto", MetaDistillationObjective(trainings=3, **features), steps=WARM_UP)
        for told in history(auto, "teacher_states"):
            cost = {name: 1000 * value for name, value in told["seconds"].items()}
            print(
                "ms a batch: "
                + ", ".join(f"{name} {value:.1f}" for name, value in cost.items())
                + f"; chosen: {told['chosen']}"
            )
            student = cost["student"]
            print(f"step / student-only step: live {1 + cost['live'] / student:.2f}, stored {1 + cost['read'] / student:.2f}")
        print(
            f"stage first: live {found['live']:.1f}  stored {found['stored']:.1f}  ratio {found['stored'] / found['live']:.2f}"
        )


if __name__ == "__main__":
    main()
