"""A campaign of real kills: how many a small distillation survives, what is trained twice, and how long until it goes on.

    python -m benchmarks.faults --kills 20 [--folder DIR] [--seed N]

Rounds of eight kills, each at a random step of one small job: SIGKILL of a training worker (twice), of a Ray Data task (twice),
of a prediction actor and of the command itself, SIGTERM of the command, a damaged checkpoint. A stopped command is given again.
A kill is survived when its round ends with the weights, bit for bit, of a run that was left alone. Every round is written to
DIR/rounds.jsonl before the next begins: the same command continues there, until so many kills are made.

``recover`` is the time from a kill until training goes on (for an actor, until there is another one); that of a command
includes starting Python, Ray and the workers again. ``steps repeated`` is what the run itself says after a worker was lost, and
what lies between the step that was stopped at and the checkpoint that training went on from, where the newest was damaged. A
command that is killed leaves nobody to tell: it repeats fewer steps than lie between two checkpoints, ten here.
"""

import argparse
import json
import random
import re
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.heads import client_environment
from tests.cluster.runs import DATA_TASK, PREDICTION_ACTOR, TRAIN_WORKER, Run, World, damage, same, weights_in

CONTINUES = r"continues from the checkpoint at step (\d+)"
LOST = r"workers were lost, continues from .*, about (\d+) steps are repeated"
STUDENT = "students/kd-seed1"
Kill = dict[str, Any]


def main() -> None:
    """Run rounds until the kills are made; print the figures."""
    options = _options()
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, folder / "job.yaml") if (folder / "job.yaml").exists() else World.make(folder)
    environment = client_environment(folder)
    calm = _calm(world, environment)
    rounds = _rounds(folder)
    while sum(len(one["kills"]) for one in rounds) < options.kills:
        number = len(rounds)
        draw = random.Random(f"{options.seed}/{number}")
        run = Run(world, f"round-{number}", environment, draw=draw)
        shutil.rmtree(run.folder, ignore_errors=True)  # a round is begun anew, not gone on with
        run.log.unlink(missing_ok=True)
        one = _round(run, calm)
        rounds.append(one)
        with (folder / "rounds.jsonl").open("a") as file:
            file.write(json.dumps(one) + "\n")
        said = "same weights" if one["survived"] else f"NOT SURVIVED, see {run.log}"
        print(f"round {number}: {said}, {one['seconds']:.0f} s; {_names(one['kills'])}", flush=True)
    _print(rounds)
    sys.exit(0 if all(one["survived"] for one in rounds) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="kills to make at least, those of earlier calls included")
    parser.add_argument("--folder", default="runs/faults", help="where the campaign lies")
    parser.add_argument("--seed", type=int, default=1, help="of kinds and steps")
    return parser.parse_args()


def _calm(world: World, environment: Mapping[str, str]) -> Mapping[str, Any]:
    run = Run(world, "calm", environment)
    with run.command():  # finished in an earlier call, it is skipped
        if run.end() != 0:
            sys.exit(f"the undisturbed run failed:\n{run.output()}")
    return weights_in(run.folder)


def _rounds(folder: Path) -> list[dict[str, Any]]:
    file = folder / "rounds.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _round(run: Run, calm: Mapping[str, Any]) -> dict[str, Any]:
    """One run in three commands, with kills in each of its stages."""
    began = time.monotonic()
    kills: list[Kill] = []
    with run.command():
        kills.append(_data_task_killed(run))
        kills.append(_worker_killed(run, "teacher", low=10, high=60))
        step = run.wait_random_step("teacher", low=90, high=150)
        run.signal(signal.SIGTERM)
        if run.end(120) != 130:
            sys.exit(f"SIGTERM did not stop the command:\n{run.output()}")
    stopped = run.checkpoint("teacher")
    damage(run.folder / "teacher" / "checkpoints" / f"step-{stopped:08d}", run.draw)
    with run.command() as again:
        seconds, start = _goes_on(again)
        kills.append({"kind": "command, SIGTERM", "step": step, "seconds": seconds})
        kills.append({"kind": "damaged checkpoint", "step": stopped, "repeated": stopped - start})
        kills.append(_actor_killed(run))
        kills.append(_data_task_killed(run))
        kills.append(_worker_killed(run, STUDENT, low=10, high=200))
        step = run.wait_random_step(STUDENT, low=run.checkpoint(STUDENT) + 10, high=run.checkpoint(STUDENT) + 200)
        run.kill_driver()
    with run.command() as again:
        kills.append({"kind": "command, SIGKILL", "step": step, "seconds": _goes_on(again)[0]})
        code = run.end()
    survived = code == 0 and same(run.weights(), calm)
    return {"kills": kills, "survived": survived, "seconds": time.monotonic() - began}


def _worker_killed(run: Run, task: str, *, low: int, high: int) -> Kill:
    step = run.wait_random_step(task, low=low, high=high)
    began, before = time.monotonic(), run.count(LOST)
    run.kill(TRAIN_WORKER)
    run.wait_count(LOST, before + 1)
    repeated = int(re.findall(LOST, run.output())[-1])
    return {"kind": "training worker", "step": step, "seconds": time.monotonic() - began, "repeated": repeated}


def _data_task_killed(run: Run) -> Kill:
    run.kill(DATA_TASK)  # at work as soon as a training starts, and for some seconds
    return {"kind": "data task"}


def _actor_killed(run: Run) -> Kill:
    killed, began = run.kill(PREDICTION_ACTOR), time.monotonic()
    while run.wait_process(PREDICTION_ACTOR).pid == killed:
        time.sleep(0.1)  # the figure is in whole seconds
    return {"kind": "prediction actor", "seconds": time.monotonic() - began}


def _goes_on(run: Run) -> tuple[float, int]:
    """Seconds until the command given again trains on, and the step from which."""
    began = time.monotonic()
    run.wait_said(CONTINUES)
    return time.monotonic() - began, int(re.findall(CONTINUES, run.output())[-1])


def _names(kills: list[Kill]) -> str:
    return ", ".join(kill["kind"] + (f" at step {kill['step']}" if "step" in kill else "") for kill in kills)


def _print(rounds: list[dict[str, Any]]) -> None:
    kills = [(kill, one["survived"]) for one in rounds for kill in one["kills"]]
    print(f"\n{'median, most':<20} {'survived':>9} {'steps repeated':>15} {'recover, s':>15}")
    for kind in sorted({kill["kind"] for kill, _ in kills}):
        mine = [(kill, survived) for kill, survived in kills if kill["kind"] == kind]
        repeated, seconds = (_spread([kill[name] for kill, _ in mine if name in kill]) for name in ("repeated", "seconds"))
        print(f"{kind:<20} {sum(survived for _, survived in mine):>4}/{len(mine):<4} {repeated:>15} {seconds:>15}")
    print(f"\nkills survived: {sum(survived for _, survived in kills)} of {len(kills)}")


def _spread(figures: list[float]) -> str:
    return f"{statistics.median(figures):.0f}, {max(figures):.0f}" if figures else "-"


if __name__ == "__main__":
    main()
