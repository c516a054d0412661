"""Modules applied to many rows, by engines that run them in many processes."""

from hubkeras.batch.predictor import Predictor

__all__ = ["Predictor"]
