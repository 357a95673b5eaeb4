"""From a DICOM file to a volume on the model's grid."""

IMAGING_VERSION = 1
"""Raised with every change that makes two runs differ; part of a model's specification and every reading."""
