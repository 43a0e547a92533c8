"""The objective of any training task, of whichever kind of job."""

from typing import Annotated

from pydantic import Field

from raykd.config.features import FeatureKDConfig
from raykd.config.metakd_objectives import MetaObjective
from raykd.config.objectives import ObjectiveConfig

TaskObjective = Annotated[ObjectiveConfig | FeatureKDConfig | MetaObjective, Field(discriminator="kind")]
