"""raykd.json: written and read back, absent, and of a hand that erred."""

import json

import pytest

from raykd.errors import ModelError
from raykd.models.model_settings import ModelSettings, read_settings, write_settings


def test_settings_come_back_and_a_folder_without_them_has_the_defaults(tmp_path):
    assert read_settings(str(tmp_path)) == ModelSettings(None, 1.0, None)
    settings = ModelSettings(64, 1.7, 0.9)
    write_settings(str(tmp_path), settings)
    assert read_settings(str(tmp_path)) == settings


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"temperature": 0}, "temperature 0 is not a number above 0"),
        ({"temperature": None}, "temperature None is not a number above 0"),
        ({"temperature": "1"}, "the other settings are numbers"),
        ({"temperature": True}, "the other settings are numbers"),
        ({"sequence_length": 1.5}, "sequence_length is a positive integer"),
        ({"sequence_length": -1}, "sequence_length is a positive integer"),
        ({"temprature": 1}, "it may hold escalation_threshold, sequence_length, temperature"),
        ([], "it may hold"),
    ],
)
def test_values_that_cannot_be(content, message, tmp_path):
    (tmp_path / "raykd.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message):
        read_settings(str(tmp_path))
