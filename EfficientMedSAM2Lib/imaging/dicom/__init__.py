"""Reading DICOM: which files are one scan, where its slices lie by their own positions, and their voxels.

``headers`` reads files, ``frames`` tells what each image in them is, ``series`` decides which of them are the scan,
``stack`` makes a grid of positions, ``voxels`` decodes and rescales, ``reader`` is what other rooms call, and
``segmentations`` reads DICOM SEG.
"""
