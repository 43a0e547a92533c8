"""A search from its configuration to its report: shared work, trials, final trainings and test, each done once."""

import functools
import os
from contextlib import ExitStack
from typing import Any

from raykd.cluster import require_shared, uses_gpu
from raykd.config import TuneConfig
from raykd.data import storage
from raykd.data.folder_lock import folder_lock
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError, TrainingError
from raykd.extras import require_extra
from raykd.placement import Placement
from raykd.progress import Terminal
from raykd.report.domain_accuracy import CorrectRows
from raykd.run.build_objective import BuildObjective
from raykd.run.stages import Stage, StageRunner
from raykd.run.task import cache_folder, key_of, run_folder
from raykd.run.worker_group import WorkerGroup
from raykd.session import start_ray, stop_ray
from raykd.trainers.features.state_files import remove_unused_folders
from raykd.tune.best_card import write_cards
from raykd.tune.best_model import save_best
from raykd.tune.final_test import FinalTest
from raykd.tune.final_trainings import FinalTrainings
from raykd.tune.jobs import JobPlan, shared_work_of
from raykd.tune.resource_request import cpus_to_start, final_compute, request_resources
from raykd.tune.search_files import read_search, write_search
from raykd.tune.search_outline import teachers_sentence
from raykd.tune.search_report import SearchReport, build_report
from raykd.tune.search_summary import track_summary
from raykd.tune.search_systems import TEACHER, TUNED_TEACHER
from raykd.tune.search_tables import conclusion
from raykd.tune.trial_record import TrialJournal, TrialRecord, best_of
from raykd.tune.trial_text import trial_sentence
from raykd.tune.trials import TrialRunner, longest_trial


def run_search(config: TuneConfig, *, terminal: Terminal | None = None) -> SearchReport:
    """Run the unfinished parts of a search. Raises RaykdError for anything a user can cause, before any trial if possible."""
    require_extra("tune", "a search")
    search = Search(config, terminal or Terminal())
    base = config.base
    folders = dict.fromkeys([search.folder, run_folder(base)])
    locks = ExitStack()
    try:
        for folder in folders:
            locks.enter_context(folder_lock(folder))
        search.check()
        search.start_ray()
        plan = search.plan()
        report = search.report(plan, search.trials(plan))
    except KeyboardInterrupt:
        search.print_best()
        raise
    finally:
        search.close()
        locks.close()
    search.terminal.print_line(f"report: {storage.join(search.folder, 'report', 'report.html')}")
    search.terminal.print_line(f"best model: {storage.join(search.folder, 'best')}")
    return report


class Search:
    """The parts of a search; each makes only what is missing."""

    def __init__(self, config: TuneConfig, terminal: Terminal) -> None:
        self.config = config = _with_named_cpus(config)
        self.terminal = terminal
        self.folder = storage.join(storage.absolute(config.base.storage), config.name)
        self.journal = TrialJournal(storage.join(self.folder, "trials"))
        self.shared = shared_work_of(config.base, terminal)
        self._started = False

    def check(self) -> None:
        """Check models, files and the search's folder before anything starts. Raises RaykdError."""
        self.shared.check()
        path, key = storage.join(self.folder, "search.json"), search_key(self.config)
        if storage.exists(path) and storage.read_json(path)["key"] != key and self.journal.read():
            raise ConfigError(
                f"{self.journal.folder} has the trials of another search of this name: its job, space, searcher, scheduler or "
                "seed were others; give this one another name, or delete that folder"
            )
        storage.write_json(path, {"key": key, "search": self.config.model_dump(mode="json")})

    def start_ray(self) -> None:
        """Start Ray, unless it runs."""
        compute = self.config.base.compute
        connected = start_ray(
            num_cpus=None if os.environ.get("RAY_ADDRESS") else cpus_to_start(self.config),
            start_timeout_s=compute.start_timeout_s,
            collective_timeout_s=compute.collective_timeout_s,
        )
        self._started |= connected
        if connected:
            require_shared(self.folder)
        self.request = request_resources(self.config)

    def plan(self) -> JobPlan[Any]:
        """Make what trials share."""
        for sentence in teachers_sentence(self.config):
            self.terminal.print_line(sentence)
        with self.terminal.bars():
            plan = self.shared.make_plan()
        self.shared.close()  # its idle workers would hold the CPUs that trials wait for
        return plan

    def trials(self, plan: JobPlan[Any]) -> list[TrialRecord]:
        """Run all trials. Raises TrainingError when every one has failed."""
        records = TrialRunner(self.config, plan, self.request, folder=self.folder, terminal=self.terminal).run()
        if best_of(records, self.config.mode) is None:
            raise TrainingError(
                f"none of {len(records)} trials has a {self.config.metric}; trial 0 failed: {records[0].reason}"
            )
        return records

    def report(self, plan: JobPlan[Any], records: list[TrialRecord]) -> SearchReport:
        """Run the final trainings and their test, save the best model, and write the report."""
        best = best_of(records, self.config.mode)
        if best is None:
            raise ValueError("no trial has a metric")
        folder = storage.join(self.folder, "report")
        numbers = [record.model_dump(mode="json", exclude={"seconds"}) for record in records]
        stage = Stage("report", folder, key_of("report", numbers, self.config.final_seeds, search_key(self.config)))
        if stage.is_done():
            self.terminal.print_line("report: finished before, skipped")
            return read_search(folder)
        stage.begin()
        with self.terminal.bars():
            report = self._finish(plan, records, best)
        write_search(report, folder)
        write_cards(report, storage.join(self.folder, "best"))
        track_summary(self.config, report, self.folder)
        stage.finish()
        return report

    def print_best(self) -> None:
        """Print the best trial so far of an interrupted search."""
        best = best_of(self.journal.read(), self.config.mode)
        found = (
            f"no trial has a {self.config.metric} yet"
            if best is None
            else f"best so far: {trial_sentence(best, None, self.config.metric)}"
        )
        self.terminal.print_line(f"interrupted; {found}")

    def close(self) -> None:
        """Release the workers, and stop Ray if it was started here."""
        self.shared.close()
        if self._started:
            stop_ray()
        remove_unused_folders()  # stored teacher states of trials whose process was killed

    def _new_group(self, build_objective: BuildObjective, placement: Placement) -> WorkerGroup:
        base = self.config.base
        compute = placement.compute(base.compute, use_gpu=uses_gpu(base.compute))
        return WorkerGroup(compute, storage=storage.join(self.folder, "ray"), name=base.name, build_objective=build_objective)

    def _finish(self, plan: JobPlan[Any], records: list[TrialRecord], best: TrialRecord) -> SearchReport:
        schedule = best.schedule(longest_trial(self.config, plan))
        compute = final_compute(self.config, self.request)
        new_group = functools.partial(self._new_group, plan.build_objective)
        final = FinalTrainings(self.config, plan, schedule, self.folder, new_group, self.terminal, compute)
        final.run()
        rows = self.shared.test_rows()
        report = build_report(
            self.config,
            records,
            self._test(final, rows),
            rows={domain: one.num_rows for domain, one in rows.items()},
            baselines=final.baselines(),
        )
        changes = [{"from": start, "values": values} for start, values in schedule]
        provenance = {
            "search": self.config.model_dump(mode="json"),
            "trial": best.index,
            "trials": len(records),
            "values": best.values,
            **({"schedule": changes} if best.values_changed else {}),
            "conclusion": conclusion(report),
            "environment": report.environment,
        }
        save_best(self.config, final, self.folder, provenance)
        return report

    def _test(self, final: FinalTrainings, rows: dict[str, TokenisedSet]) -> dict[str, CorrectRows]:
        teacher, teacher_rows = self.shared.teacher() or ("", {})
        models = {TEACHER: teacher} if teacher else {}
        if teacher and final.teacher is not None:
            models[TUNED_TEACHER] = final.teacher.model
        runner = StageRunner(
            name=self.config.name,
            folder=self.folder,
            cache=cache_folder(self.config.base),
            compute=self.config.base.compute,
            stages=("test",),
            terminal=self.terminal,
        )
        return FinalTest(self.config, runner).run(final.trained, rows, models, teacher_rows)


def _with_named_cpus(config: TuneConfig) -> TuneConfig:
    """The search with the CPUs of a worker named: trials and all trainings around them count on the same number."""
    compute = config.base.compute.model_copy(update={"cpus_per_worker": config.base.compute.worker_cpus})
    return config.model_copy(update={"base": config.base.model_copy(update={"compute": compute})})


def search_key(config: TuneConfig) -> str:
    """Hash of what makes trials comparable; their number and how they run may change between runs of a search."""
    run = {"trials", "concurrency", "retries", "final_seeds"}
    content = config.model_dump(mode="json", exclude=run)
    for section in ("compute", "tracking", "storage"):
        content["base"].pop(section)
    return key_of("search", content)
