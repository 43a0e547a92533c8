"""The command around the flags."""

import subprocess
import sys

import pytest

from raykd.easynlp import main
from raykd.easynlp.user_parameters import META_PARAMETERS, PARAMETERS
from raykd.errors import ConfigError


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--mode=train", "-h"]])
def test_help_lists_the_flags(arguments, capsys):
    assert main(arguments) == 0
    assert "--save_checkpoint_steps" in capsys.readouterr().out


def test_help_has_defaults_aliases_and_keys(capsys):
    main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    starts = {" ".join(line.split()) for line in lines}
    assert "--sequence_length maximum tokens of a row; shorter rows are not padded to it (default: 16)" in starts
    assert "--micro_batch_size, --train_batch_size rows per forward pass of one worker (default: 2)" in starts
    assert "--use_amp bfloat16 in the forward pass; weights and optimiser stay float32" in starts
    assert "temperature float T of the distillation (default: 1.0)" in starts
    assert "enable_distillation bool train: distil; False trains on labels alone (default: False)" in starts
    assert "domain_loss_weight float weight of the domain loss (default: 0.5)" in starts
    named = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {parameter.name for parameter in (*PARAMETERS, *META_PARAMETERS)} <= named


@pytest.mark.parametrize("script", ["main.py", "main", "./examples/main.py"])
def test_the_name_of_the_script_may_stand_first(script):
    with pytest.raises(ConfigError, match="--tables is missing"):
        main([script, "--mode=train"])


def test_other_scripts_are_named():
    with pytest.raises(ConfigError, match=r"raykd easynlp cluster\.py: there is no such command; use import, main\.py"):
        main(["cluster.py", "--mode=train"])


def test_nothing_heavy_is_imported_for_a_mistake():
    code = (
        "import sys\nfrom raykd.easynlp import main\nfrom raykd.errors import ConfigError\n"
        "try:\n    main(['--epoch_nun=3', '--mode=train'])\nexcept ConfigError as error:\n    print(error)\n"
        "print(sorted({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "unknown flag --epoch_nun; did you mean --epoch_num?\n[]\n"
