"""Weights that know pictures: read from many files, cut to any detector.

    load_seed("starter" | "lite2" | FILE) -> Seed   nas.detector.pretrained.load
    cut(seed, detector) -> Report               nas.detector.pretrained.load
    recalibrate(detector, batches)              nas.detector.pretrained.recalibrate

`seed` is the one form that all weights are brought to (`lite`, `classifiers`, `starter` read them,
`state` by name and shape). `plan` pairs a seed's stages with a detector's rows, `streams`
chooses channels, `linear` brings blocks to another kind, `conv` fills one convolution, `cut` the
backbone, `neck` neck and head from a starter; `report` says what was taken, cut and made up.
"""
