"""Trains a network on a data set, so that a run that was killed ends as one that was not."""
