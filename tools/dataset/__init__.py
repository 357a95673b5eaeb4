"""A data set: a folder of DICOM series and a table of labels, as volumes on a model's grid."""
