"""Teach and grade: data, augmentation, loss, mAP, loop.

    read_data("shapes" | "my.yaml")  -> DataConfig              nas.data.dataset
    load_part(data, "train", 320)    -> ImageSet                nas.data.dataset
    fit_anchors(box_sizes(part), seed=0) -> AnchorFit           nas.data.anchors
    train(detector, train_set, val_set, settings, seed=0) -> Trained     nas.training.loop
    evaluate_detector(detector, part) -> Grades                 nas.training.metrics
    TrainSettings, short_settings(steps)                        nas.training.settings
    load_checkpoint("best.pt") -> Checkpoint                    nas.training.on_disk.checkpoint

Data comes in by `datafile` (data.yaml), `listing` (its folders and lists), `labels` (YOLO's text
files, `key_points` where these are some), `decode` (image files) and `shapes` (drawn); `tally`
counts it and says its doubts. It lies letterboxed in memory (`images`). A step's batch follows from
the seed and the step's number (`batches`: `augment`, then `assign` to the head's cells);
`under_way` trains on it (`loss`, `optimizer`, `priors`), `loop` goes from step to step, `metrics`
grades what comes of it. `recipe`, `folder`, `ready` (what is checked before the first step) and
`display` are for the command nas.train.

Nothing is imported here: reading a data.yaml must not cost an import of torch.
"""
