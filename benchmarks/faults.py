"""A campaign of real kills: how many a small distillation survives, what is trained twice, and how long until it goes on.

    python -m benchmarks.faults --kills 20 [--folder DIR] [--seed N]

Runs of one small job are disturbed at random steps until so many kills were made: SIGKILL of a training worker, of a Ray Data
task, of a prediction actor, of the command itself (which is then given again), SIGTERM of the command, a damaged checkpoint. A
kill is survived when its run ends with the weights, bit for bit, of a run that was left alone. Every round is written to
DIR/rounds.jsonl before the next begins: the same command continues there. ``recover`` is the time from a kill to the line that
says where training goes on; a killed command's includes starting Python, Ray and the workers again.
"""

import argparse
import json
import random
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.cluster.heads import client_environment
from tests.cluster.runs import DATA_TASK, PREDICTION_ACTOR, TRAIN_WORKER, Run, World, damage, same, weights_in

CONTINUES = r"continues from the (?:checkpoint at step (\d+)|beginning)(?:, about (\d+) steps are repeated)?"
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
        one = _round(Run(world, f"round-{number}", environment, draw=draw), calm)
        rounds.append(one)
        with (folder / "rounds.jsonl").open("a") as file:
            file.write(json.dumps(one) + "\n")
        print(f"round {number}: {'same weights' if one['survived'] else 'NOT SURVIVED'}; {_names(one['kills'])}", flush=True)
    _print(rounds)
    sys.exit(0 if all(one["survived"] for one in rounds) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="kills to make, those of earlier calls included")
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
    """One run with a kill in each of its stages."""
    kills: list[Kill] = []
    if run.draw.random() < 0.5:
        with run.command():
            kills.append(_training_kill(run, "teacher", run.draw.choice([_worker, _data_task])))
            kills.append(_scoring_kill(run))
            kills.append(_training_kill(run, STUDENT, run.draw.choice([_worker, _data_task])))
            code = run.end()
    else:
        kills += _command_kills(run)
        with run.command():
            began = time.monotonic()
            run.wait_said(CONTINUES)
            kills[-1] |= _recovery(run, began)
            code = run.end()
    survived = code == 0 and same(run.weights(), calm)
    return {"kills": kills, "survived": survived}


def _training_kill(run: Run, task: str, kill: Callable[[Run], str]) -> Kill:
    step = run.wait_random_step(task, low=10, high=120)
    began, before = time.monotonic(), run.count(CONTINUES)
    kind = kill(run)
    if kind == "training worker":
        run.wait_count(CONTINUES, before + 1)
        return {"kind": kind, "step": step, **_recovery(run, began)}
    return {"kind": kind, "step": step}


def _worker(run: Run) -> str:
    run.kill(TRAIN_WORKER)
    return "training worker"


def _data_task(run: Run) -> str:
    run.kill(DATA_TASK)  # of the next task's rows, or of this one's
    return "data task"


def _scoring_kill(run: Run) -> Kill:
    run.kill(PREDICTION_ACTOR)
    return {"kind": "prediction actor"}


def _command_kills(run: Run) -> list[Kill]:
    """The command stopped and damaged, given again, killed."""
    kills: list[Kill] = []
    with run.command():
        step = run.wait_random_step("teacher", low=10, high=120)
        run.signal(signal.SIGTERM)
        if run.end(120) != 130:
            sys.exit(f"SIGTERM did not stop the command:\n{run.output()}")
        kills.append({"kind": "command, SIGTERM", "step": step})
    newest = run.checkpoint("teacher")
    damage(run.folder / "teacher" / "checkpoints" / f"step-{newest:08d}", run.draw)
    kills.append({"kind": "damaged checkpoint", "step": newest})
    with run.command():
        began = time.monotonic()
        run.wait_said(CONTINUES)
        kills[0] |= {"seconds": time.monotonic() - began}
        step = run.wait_random_step(STUDENT, low=10, high=120)
        run.kill_driver()
        kills.append({"kind": "command, SIGKILL", "step": step})
    return kills


def _recovery(run: Run, began: float) -> dict[str, Any]:
    """Seconds, and steps that are repeated, of the last line that says where training goes on."""
    repeated = re.findall(CONTINUES, run.output())[-1][1]
    return {"seconds": time.monotonic() - began, **({"repeated": int(repeated)} if repeated else {})}


def _names(kills: list[Kill]) -> str:
    return ", ".join(kill["kind"] + (f" at step {kill['step']}" if "step" in kill else "") for kill in kills)


def _print(rounds: list[dict[str, Any]]) -> None:
    kills = [(kill, one["survived"]) for one in rounds for kill in one["kills"]]
    print(f"\n{'kill':<20} {'survived':>9} {'steps repeated':>15} {'recover, s (median, most)':>27}")
    for kind in sorted({kill["kind"] for kill, _ in kills}):
        mine = [(kill, survived) for kill, survived in kills if kill["kind"] == kind]
        repeated = [kill["repeated"] for kill, _ in mine if "repeated" in kill]
        seconds = [kill["seconds"] for kill, _ in mine if "seconds" in kill]
        steps = f"{statistics.median(repeated):g}, {max(repeated)}" if repeated else "-"
        took = f"{statistics.median(seconds):.1f}, {max(seconds):.1f}" if seconds else "-"
        print(f"{kind:<20} {sum(survived for _, survived in mine):>4}/{len(mine):<4} {steps:>15} {took:>27}")
    print(f"\nkills survived: {sum(survived for _, survived in kills)} of {len(kills)}")


if __name__ == "__main__":
    main()
