"""Prediction: logits of trained models on prepared rows."""

from raykd.predict.scorer import ScoreJob
from raykd.predict.scoring_job import score, score_locally

__all__ = ["ScoreJob", "score", "score_locally"]
