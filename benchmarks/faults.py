"""A campaign of real faults: how many a small distillation survives, what is trained twice, and how long until it continues.

    python -m benchmarks.faults --kills 100 [--folder DIR] [--seed N] [--kinds KIND ...] [--rounds ROUND ...]

Rounds of faults, each at a random step of one small job, in turns:
``processes``  SIGKILL of a training worker, of all of them in the middle of a checkpoint's write, of a Ray Data task, a
               prediction actor and the command; SIGTERM of the command; its terminal closed (SIGHUP); a damaged checkpoint; a
               second command in the same folder.
``nodes``      nodes of a local cluster killed in training and in prediction, and one drained.
``storage``    an object store that is away for 5 to 20 s (needs moto).
A stopped command is given again. A fault is survived when its round ends with the weights, bit for bit, of a run that was left
alone. Every fault and every round's end is a line of DIR/faults.jsonl: the same command continues, until so many faults are
made; an interrupted round is made again.

``recover`` is the time from a fault until training continues (for an actor, until there is another one; for a store, from its
return to the next checkpoint; for a second command, until it is refused); that of a command includes starting Python, Ray and
the workers again. ``steps repeated`` is what the run itself prints after workers were lost, and what lies between the newest
checkpoint and the one that training resumed from. A command that is killed prints nothing: it repeats fewer steps than
lie between two checkpoints, ten here.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fault_kinds import KINDS, DisturbedRun, Fault
from tests.cluster.heads import ROOT, client_environment
from tests.cluster.raylets import Raylets, raylets
from tests.cluster.runs import Run, World, of, same, weights_in

STEPS = 400
"""Steps of the teacher; its student trains three times as many."""
STUDENT = "students/kd-seed1"
NODES = 3
QUICK_NEWS = {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
"""Interval at which Ray asks for drained nodes; by default a training of seconds would be over before the first time."""


@dataclass
class Campaign:
    """Settings that the rounds share."""

    world: World
    environment: Mapping[str, str]
    calm: Mapping[str, Any]
    """Weights of a run that was left alone."""
    kinds: list[str]
    state: Path
    """File of the faults and ends of rounds."""
    seed: int

    def write(self, line: dict[str, Any]) -> None:
        """Append a line to the state file."""
        with self.state.open("a") as file:
            file.write(json.dumps(line) + "\n")


@dataclass
class Round:
    """A round as it is stored in the state file."""

    faults: list[Fault] = field(default_factory=list)
    survived: bool | None = None
    """None for a round without an end."""


def main() -> None:
    """Make rounds until there are enough faults; print the measurements."""
    options = _options()
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup; commands inherit that, but no handler
        signal.signal(signal.SIGHUP, lambda *_: None)
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, folder / "job.yaml") if (folder / "job.yaml").exists() else World.make(folder, steps=STEPS)
    environment = client_environment(folder)
    campaign = Campaign(world, environment, _calm(world, environment), options.kinds, folder / "faults.jsonl", options.seed)
    while _count(rounds := read_rounds(campaign.state)) < options.kills:
        number = sum(one.survived is not None for one in rounds.values())
        before = _count(rounds)
        _make_round(campaign, number, options.rounds[number % len(options.rounds)])
        if _count(read_rounds(campaign.state)) == before:
            sys.exit(f"round {number} made no fault: see its line in {campaign.state}, and --kinds and --rounds")
    _print(list(rounds.values()))
    sys.exit(0 if all(one.survived is not False for one in rounds.values()) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="faults to make at least, those of earlier calls included")
    parser.add_argument("--folder", default="runs/faults", help="where the campaign lies")
    parser.add_argument("--seed", type=int, default=1, help="of the steps")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND", help=f"of {'; '.join(KINDS)}")
    parser.add_argument("--rounds", nargs="+", default=list(ROUNDS), choices=ROUNDS, help="rounds to make in turns")
    return parser.parse_args()


def _calm(world: World, environment: Mapping[str, str]) -> Mapping[str, Any]:
    run = Run(world, "calm", environment)
    with run.command():  # finished in an earlier call, it is skipped
        if run.end() != 0:
            sys.exit(f"the undisturbed run failed:\n{run.output()}")
    return weights_in(run.folder)


def read_rounds(state: Path) -> dict[int, Round]:
    """Rounds by number; one that was begun again starts empty."""
    rounds: dict[int, Round] = {}
    for line in state.read_text().splitlines() if state.exists() else ():
        content = json.loads(line)
        if "begins" in content:
            rounds[content["round"]] = Round()
        elif "survived" in content:
            rounds[content["round"]].survived = content["survived"]
        else:
            rounds[content["round"]].faults.append(content)
    return rounds


def _count(rounds: Mapping[int, Round]) -> int:
    return sum(len(one.faults) for one in rounds.values() if one.survived is not None)


def _make_round(campaign: Campaign, number: int, name: str) -> None:
    draw, began = random.Random(f"{campaign.seed}/{number}"), time.monotonic()
    campaign.write({"round": number, "begins": name})
    run = Run(campaign.world, f"round-{number}", campaign.environment, draw=draw)
    shutil.rmtree(run.folder, ignore_errors=True)  # a round is begun anew, not gone on with
    run.log.unlink(missing_ok=True)

    def record(fault: Fault) -> None:
        campaign.write({"round": number, **fault})
        print(f"round {number}, {name}: {_text(fault)}", flush=True)

    made: dict[str, Any] = {"error": None}
    try:
        made["survived"] = ROUNDS[name](campaign, run, record)
    except (AssertionError, subprocess.TimeoutExpired) as error:  # a wait in vain, or an exit code
        made |= {"survived": False, "error": str(error).splitlines()[0]}
    campaign.write({"round": number, **made, "seconds": time.monotonic() - began})
    result = "same weights" if made["survived"] else f"NOT SURVIVED ({made['error'] or 'other weights'}), see {run.log}"
    print(f"round {number}, {name}: {result}, {time.monotonic() - began:.0f} s", flush=True)


def _processes(campaign: Campaign, run: Run, record: Callable[[Fault], None]) -> bool:
    with DisturbedRun(run, record, campaign.kinds) as disturbed:
        disturbed.two_commands()
        disturbed.data_task()
        disturbed.training_worker("teacher", 10, 50)
        disturbed.checkpoint_write("teacher", 60, 80)
        disturbed.stopped_command("command, SIGTERM", "teacher", 90, 150, damaged=True)
        disturbed.stopped_command("command, SIGHUP", "teacher", 180, 280)
        disturbed.prediction_actor()
        disturbed.data_task()
        disturbed.training_worker(STUDENT, 10, 300)
        disturbed.stopped_command("command, SIGKILL", STUDENT, 400, 900)
        disturbed.finish()
    return same(run.weights(), campaign.calm)


def _nodes(campaign: Campaign, run: Run, record: Callable[[Fault], None]) -> bool:
    with _cluster(campaign.environment) as nodes:
        run.environment = {**campaign.environment, **nodes.environment, **QUICK_NEWS}
        run.sets = ["student.training.checkpoint_steps=1000000"]  # it resumes from a checkpoint written because of the drain
        with DisturbedRun(run, record, campaign.kinds) as disturbed:
            disturbed.node(nodes, "teacher", 10, 100)
            disturbed.node(nodes, "teacher", 200, 300)
            disturbed.node_in_prediction(nodes)
            disturbed.drained_node(nodes, STUDENT, f"kd seed 1: step {run.draw.choice((STEPS, 2 * STEPS))} ")
            disturbed.finish()
    return same(run.weights(), campaign.calm)


@contextlib.contextmanager
def _cluster(environment: Mapping[str, str]) -> Iterator[Raylets]:
    """A cluster whose processes have the environment of the commands."""
    before = dict(os.environ)
    os.environ.update(environment, PYTHONPATH=str(ROOT))
    try:
        with raylets(NODES) as made:
            yield made
    finally:
        os.environ.clear()
        os.environ.update(before)


def _storage(campaign: Campaign, run: Run, record: Callable[[Fault], None]) -> bool:
    from tests.cluster.s3_runs import S3Run
    from tests.cluster.s3_server import BUCKET, s3_server

    folder = campaign.world.folder / f"{run.name}-server"
    folder.mkdir(exist_ok=True)
    with s3_server(folder) as server:
        environment = {**campaign.environment, **server.environment}
        sets = [f"storage=s3://{BUCKET}/runs", "teacher.training.checkpoint_steps=20"]
        stored = S3Run(campaign.world, run.name, environment, sets=sets, draw=run.draw, stage="teacher", server=server)
        with DisturbedRun(stored, record, campaign.kinds) as disturbed:
            disturbed.storage_away(server.tunnel, "teacher", 20, 120)
            disturbed.storage_away(server.tunnel, "teacher", 180, 280)
            disturbed.finish()
        return same(stored.weights(), of("teacher", campaign.calm))


ROUNDS: Mapping[str, Callable[[Campaign, Run, Callable[[Fault], None]], bool]] = {
    "processes": _processes,
    "nodes": _nodes,
    "storage": _storage,
}


def _text(fault: Fault) -> str:
    texts = [str(fault["kind"])]
    texts += [f"at step {fault['step']}"] if "step" in fault else []
    texts += [f"{fault['seconds']:.0f} s"] if "seconds" in fault else []
    texts += [f"{fault['repeated']} steps repeated"] if "repeated" in fault else []
    return ", ".join(texts)


def _print(rounds: list[Round]) -> None:
    faults = [(fault, bool(one.survived)) for one in rounds if one.survived is not None for fault in one.faults]
    print(f"\n{'median, most':<20} {'survived':>9} {'steps repeated':>15} {'recover, s':>15}")
    for kind in sorted({fault["kind"] for fault, _ in faults}):
        mine = [(fault, survived) for fault, survived in faults if fault["kind"] == kind]
        repeated, seconds = (_spread([fault[name] for fault, _ in mine if name in fault]) for name in ("repeated", "seconds"))
        print(f"{kind:<20} {sum(survived for _, survived in mine):>4}/{len(mine):<4} {repeated:>15} {seconds:>15}")
    failed = sum(one.survived is False for one in rounds)
    print(f"\nfaults survived: {sum(survived for _, survived in faults)} of {len(faults)}; rounds failed: {failed}")


def _spread(figures: list[float]) -> str:
    return f"{statistics.median(figures):.0f}, {max(figures):.0f}" if figures else "-"


if __name__ == "__main__":
    main()
