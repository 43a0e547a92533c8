"""A search from its job file to its report: shared work, trials, the winner retrained and tested, each once."""

import os

from raykd.cluster import require_shared
from raykd.config import TuneConfig
from raykd.data import storage
from raykd.errors import ConfigError, TrainingError
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.run.progress import Terminal, stdout_console
from raykd.run.stage import Stage
from raykd.run.task import key_of
from raykd.run.worker_group import TrainingGroup
from raykd.session import start_ray, stop_ray
from raykd.trainers.features.state_files import remove_unused_folders
from raykd.tune.dry_run import teachers_sentence
from raykd.tune.final import Final
from raykd.tune.resource_request import cpus_wanted, find_places, trainings_at_once
from raykd.tune.search_report import SearchReport, build_report, read_search, write_search
from raykd.tune.shared import shared_of
from raykd.tune.summary import print_search, track_summary
from raykd.tune.trial_plan import Plan
from raykd.tune.trial_record import Journal, TrialRecord, best_of
from raykd.tune.trials import run_trials, trial_steps


def run_search(config: TuneConfig, *, terminal: Terminal | None = None) -> SearchReport:
    """Run what is left of a search. Raises RaykdError for anything a user can cause, before any trial where possible."""
    search = Search(config, terminal or Terminal())
    try:
        search.check()
        search.start_ray()
        plan = search.plan()
        report = search.report(plan, search.trials(plan))
    except KeyboardInterrupt:
        search.say_best()
        raise
    finally:
        search.close()
    search.terminal.say(f"report: {storage.join(search.folder, 'report', 'report.html')}")
    search.terminal.say(f"best model: {storage.join(search.folder, 'best')}")
    print_search(report, stdout_console())
    return report


class Search:
    """The parts of a search, each of which makes what is not there yet."""

    def __init__(self, config: TuneConfig, terminal: Terminal) -> None:
        self.config = config
        self.terminal = terminal
        self.folder = storage.join(storage.absolute(config.base.storage), config.name)
        self.journal = Journal(storage.join(self.folder, "trials"))
        self.shared = shared_of(config.base, terminal)
        self._started = False

    def check(self) -> None:
        """Find what is wrong before anything starts: models, files, another search in this folder. Raises RaykdError."""
        self.shared.check()
        path, key = storage.join(self.folder, "search.json"), search_key(self.config)
        if storage.exists(path) and storage.read_json(path)["key"] != key and self.journal.read():
            raise ConfigError(
                f"{self.journal.folder} has the trials of another search of this name: its job, space, searcher, scheduler or "
                "seed were others; give this one another name, or delete that folder"
            )
        storage.write_json(path, {"key": key, "search": self.config.model_dump(mode="json")})

    def start_ray(self) -> None:
        """Bring Ray up, if it is not."""
        compute = self.config.base.compute
        connected = start_ray(
            num_cpus=None if os.environ.get("RAY_ADDRESS") else cpus_wanted(self.config),
            start_timeout_s=compute.start_timeout_s,
            collective_timeout_s=compute.collective_timeout_s,
        )
        self._started |= connected
        if connected:
            require_shared(self.folder)
        self.places = find_places(self.config)

    def plan(self) -> Plan:
        """What trials share. Raises ResourceError before that where the cluster cannot hold one trial."""
        for sentence in teachers_sentence(self.config):
            self.terminal.say(sentence)
        with self.terminal.bars():
            plan = self.shared.make()
        self.shared.close()  # its idle workers would hold what trials are waiting for
        return plan

    def trials(self, plan: Plan) -> list[TrialRecord]:
        """All trials. Raises TrainingError when every one has failed."""
        records = run_trials(self.config, plan, self.places, folder=self.folder, terminal=self.terminal)
        if best_of(records, self.config.mode) is None:
            raise TrainingError(f"none of {len(records)} trials came to a figure; trial 0 failed: {records[0].reason}")
        return records

    def report(self, plan: Plan, records: list[TrialRecord]) -> SearchReport:
        """The winner retrained, tested and saved, and the report."""
        best = best_of(records, self.config.mode)
        if best is None:
            raise ValueError("no trial has a figure")
        folder = storage.join(self.folder, "report")
        numbers = [record.model_dump(mode="json", exclude={"seconds"}) for record in records]
        stage = Stage("report", folder, key_of("report", numbers, self.config.final_seeds, search_key(self.config)))
        if stage.is_done():
            self.terminal.say("report: finished before, skipped")
            return read_search(folder)
        stage.begin()
        with self.terminal.bars():
            report = self._finish(plan, records, best)
        write_search(report, folder)
        track_summary(self.config, report, self.folder)
        stage.finish()
        return report

    def say_best(self) -> None:
        """What an interrupted search has found so far."""
        from raykd.tune.watch import sentence

        best = best_of(self.journal.read(), self.config.mode)
        found = "no trial has a figure yet" if best is None else f"best so far: {sentence(best, None, self.config.metric)}"
        self.terminal.say(f"interrupted; {found}")

    def close(self) -> None:
        """Let workers go, and Ray, if it was started here."""
        self.shared.close()
        if self._started:
            stop_ray()
        remove_unused_folders()  # stored teacher states of trials whose process was killed

    def _new_group(self) -> TrainingGroup:
        base = self.config.base
        return TrainingGroup(
            base.compute, storage=storage.join(self.folder, "ray"), name=base.name, build_objective=build_meta_objective
        )

    def _finish(self, plan: Plan, records: list[TrialRecord], best: TrialRecord) -> SearchReport:
        schedule = best.schedule(trial_steps(self.config, plan))
        final = Final(
            self.config,
            plan,
            schedule,
            self.folder,
            self._new_group,
            self.terminal,
            trainings_at_once(self.config, self.places),
        )
        final.train()
        rows = self.shared.test_rows()
        right = final.test(rows, self.shared.teacher())
        report = build_report(
            self.config,
            records,
            right,
            rows={domain: one.num_rows for domain, one in rows.items()},
            default_values=self.config.base_values,
            baselines=final.baselines(),
        )
        final.save_best(
            {
                "search": self.config.model_dump(mode="json"),
                "trial": best.index,
                "trials": len(records),
                "values": best.values,
                **({"schedule": [{"from": start, "values": values} for start, values in schedule]} if best.moved else {}),
                "conclusion": report.conclusion,
                "environment": report.environment,
            }
        )
        return report


def search_key(config: TuneConfig) -> str:
    """What makes trials comparable; how many there are, and how they are run, may change from one start to the next."""
    run = {"trials", "concurrency", "retries", "final_seeds"}
    content = config.model_dump(mode="json", exclude=run)
    for section in ("compute", "tracking", "storage"):
        content["base"].pop(section)
    return key_of("search", content)
