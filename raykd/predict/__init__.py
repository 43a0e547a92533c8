"""Prediction: logits of trained models on prepared rows."""

from raykd.predict.scorer import ScoreJob
from raykd.predict.scoring_job import score, score_locally
from raykd.predict.tsv_output import predictions_tsv

__all__ = ["ScoreJob", "predictions_tsv", "score", "score_locally"]
