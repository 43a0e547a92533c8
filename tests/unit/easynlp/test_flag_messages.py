"""Messages about keys of a job file, in terms of flags."""

import pytest

from raykd.config import ExperimentConfig
from raykd.easynlp.flag_messages import FLAG_OF_KEY, errors_name_flags, in_flags
from raykd.errors import DataError, ModelError


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("give the model's in its order (data.labels), or", "give the model's in its order (--label_enumerate_values), or"),
        ("correct the line, or set data.max_rejected_rows to skip such rows", "correct the line"),
        ("lower training.micro_batch_size or data.sequence_length", "lower --micro_batch_size or --sequence_length"),
        (
            "waited 600 s (compute.start_timeout_s) for nodes; lower compute.num_workers or compute.cpus_per_worker, add nodes",
            "waited 600 s for nodes; lower --worker_count, add nodes",
        ),
        ("failed more than compute.max_failures = 3 times", "failed more than 3 times"),
        (
            "data.skip_header = true, but; set data.skip_header to false",
            "--skip_first_line = true, but; set --skip_first_line to false",
        ),
        ("/a/data.labels/x and data.labels.tsv", "/a/data.labels/x and data.labels.tsv"),
        ("an error of another kind, or none", "an error of another kind, or none"),
    ],
)
def test_keys_become_flags(message, expected):
    assert in_flags(message) == expected


def test_an_error_keeps_its_kind_and_where_it_was_raised():
    with pytest.raises(ModelError, match=r"^lower --learning_rate$") as caught, errors_name_flags():
        raise ModelError("lower training.learning_rate")
    assert caught.traceback[-1].name == "test_an_error_keeps_its_kind_and_where_it_was_raised"
    with pytest.raises(DataError, match=r"^none$"), errors_name_flags():
        raise DataError("none")


def test_every_key_is_one_of_a_job_file():
    for key in FLAG_OF_KEY:
        section, name = key.split(".")
        fields = {"training": "student", "data": "data", "compute": "compute"}
        model = ExperimentConfig.model_fields[fields[section]].annotation
        model = model.model_fields["training"].annotation if section == "training" else model
        assert name in model.model_fields, key
