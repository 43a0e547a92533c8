"""Records that processes share: read by all, computed by one, gone with the last, and not left behind by a killed one."""

import dataclasses
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from raykd.data.batch import Batch
from raykd.trainers.features.live_teacher import TeacherTargets
from raykd.trainers.features.state_files import SharedFiles, remove_unused_folders, shared_folder
from raykd.trainers.features.stored_states import StateStore
from tests.unit.metakd.features import gradients, make_batch
from tests.unit.trainers.features.teachers import assert_same, cached, made, part

HOLD = """
    import sys, time
    from raykd.trainers.features.state_files import SharedFiles, shared_folder
    files = SharedFiles(shared_folder("held"))
    files.flags(4)[2] = True
    print("in", flush=True)
    time.sleep(600)  # until it is killed
"""


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_what_one_has_computed_the_other_reads(disk: Path) -> None:
    _, objective = made()
    teachers = [cached(objective), cached(objective)]
    for teacher in teachers:
        teacher.store = StateStore(teacher.store.rows, SharedFiles(shared_folder("rows")))
    calls: list[int] = []
    live = teachers[0].live

    def counted(batch: Batch) -> TeacherTargets:
        calls.append(len(batch.input_ids))
        return live(batch)

    for teacher in teachers:
        teacher.live = counted  # type: ignore[assignment]  # a method that counts
    batch = make_batch()
    expected = live(batch)
    assert_same(teachers[0](part(batch, [0, 1])), live(part(batch, [0, 1])), part(batch, [0, 1]))
    assert_same(teachers[1](batch), expected, batch)
    assert_same(teachers[0](batch), expected, batch)
    assert calls == [2, len(batch.input_ids) - 2]

    teachers[0].store.choice = "live"
    assert teachers[1].store.choice == "live", "who decides first decides for all"
    teachers[0].store.close()
    assert shared_folder("rows").is_dir()
    teachers[1].store.close()
    assert not list(shared_folder("rows").parent.iterdir())


def test_a_new_user_begins_anew_after_the_last_has_left() -> None:
    first = SharedFiles(shared_folder("again"))
    first.flags(3)[0] = True
    first.close()
    second = SharedFiles(shared_folder("again"))
    assert not second.flags(3).any()
    second.close()


def test_a_killed_process_leaves_nothing_for_long(disk: Path) -> None:
    code = f"import tempfile; tempfile.tempdir = {str(disk)!r}\n" + textwrap.dedent(HOLD)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        beside = SharedFiles(shared_folder("held"))
        assert beside.flags(4).tolist() == [False, False, True, False], "seen from the other process"
        beside.close()
        remove_unused_folders()
        assert shared_folder("held").is_dir(), "somebody uses it"
        process.kill()
        process.wait()
    assert shared_folder("held").is_dir()
    remove_unused_folders()
    assert not shared_folder("held").exists()


def test_gradients_do_not_depend_on_whose_records_they_are() -> None:
    model, objective = made()
    writer, reader = cached(objective), cached(objective)
    for teacher in (writer, reader):
        teacher.store = StateStore(teacher.store.rows, SharedFiles(shared_folder("mine")))
    batch = make_batch()
    writer(batch)
    assert reader.store.has(batch).all(), "the reader's records are the writer's"
    expected = gradients(model, objective(model, batch).per_row.sum())
    again = gradients(model, dataclasses.replace(objective, teacher=reader)(model, batch).per_row.sum())
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-7)
    writer.store.close()
    reader.store.close()
