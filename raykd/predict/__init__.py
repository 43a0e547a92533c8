"""Prediction: logits of trained models on prepared rows."""

from raykd.predict.jobs import score, score_locally
from raykd.predict.scorer import ScoreJob
from raykd.predict.tsv import predictions_tsv

__all__ = ["ScoreJob", "predictions_tsv", "score", "score_locally"]
