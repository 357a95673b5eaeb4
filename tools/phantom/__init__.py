"""Procedural chests, written as the DICOM series of a CT scanner."""

from tools.phantom.chest import Chest, Kind, Phantom, PhantomError
from tools.phantom.companions import dose_sheet, localizer, write_dose_sheet, write_localizer
from tools.phantom.dicom import instances, write_series
from tools.phantom.export import Export
from tools.phantom.lesions import DiseaseRanges
from tools.phantom.make import make_chest

__all__ = [
    "Chest",
    "DiseaseRanges",
    "Export",
    "Kind",
    "Phantom",
    "PhantomError",
    "dose_sheet",
    "instances",
    "localizer",
    "make_chest",
    "write_dose_sheet",
    "write_localizer",
    "write_series",
]
