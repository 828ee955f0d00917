"""The effect's one thread for the network: that of every front end."""

from EfficientMedSAM2Lib.mrml.effect.worker import Job, LogRelay, Worker

__all__ = ["Job", "LogRelay", "Worker"]
