"""Laws of what becomes of boxes and objects, against COCO's own judge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.images import ImageSet
from nas.grading.boxes.confusion import confusion
from nas.grading.boxes.curves import CONFIDENCES, USUAL_CONFIDENCE, best_confidence, curves
from nas.grading.boxes.matching import Matches, match, overlap
from nas.grading.boxes.mistakes import SHOWN, false_boxes, missed_objects
from nas.grading.boxes.sizes import SIZES, size_grades
from nas.training.metrics import ANY_AREA, Detections, grade, precision_table
from tests.data.pictures import image_set
from tests.grading.boxes.parts import NAMES, detections, perfect, random_part

LAW = settings(max_examples=40, deadline=None)


def average_precision(matches: Matches, kind: int) -> float:
    """COCO's, from who found whom: the best precision at each of 101 recalls or beyond."""
    own = matches.detections.classes == kind
    true = np.cumsum(matches.is_true[own])
    objects = int((matches.objects.classes == kind).sum())
    precision = true / np.arange(1, len(true) + 1)
    recall = true / objects
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.mean([best[i] if i < len(best) else 0.0 for i in places]))


@given(seed=st.integers(0, 10**6))
@LAW
def test_who_found_whom_is_cocos(seed: int) -> None:
    part, found = random_part(seed)
    matches, grades = match(found, part), grade(found, part)
    for kind, one in enumerate(grades.per_class):
        if one.map50 is not None:
            assert average_precision(matches, kind) == pytest.approx(one.map50, abs=1e-9)
    taken = matches.object_of[matches.is_true]
    assert len(set(taken.tolist())) == len(taken)
    same = matches.objects.classes[taken] == matches.detections.classes[matches.is_true]
    assert same.all()
    assert (np.diff(matches.scores) <= 0).all()


@given(seed=st.integers(0, 10**6))
@LAW
def test_the_curves_area_is_map50(seed: int) -> None:
    part, found = random_part(seed)
    grades = grade(found, part)
    read = curves(precision_table(found, part)[0, :, :, 0], match(found, part), part.names)
    shown = [one for one in grades.per_class if one.map50 is not None]
    assert [one.name for one in read.per_class] == [one.name for one in shown]
    for mine, theirs in zip(read.per_class, shown, strict=True):
        assert mine.precision.mean() == pytest.approx(theirs.map50)
        assert (np.diff(mine.recall_from) <= 0).all()
        assert ((mine.f1 >= 0) & (mine.f1 <= 1)).all()
    assert read.precision.mean() == pytest.approx(grades.map50)
    assert read.f1.max() == read.f1[round(read.best_confidence * 100)] or read.f1.max() == 0


@given(seed=st.integers(0, 10**6), confidence=st.floats(0, 1))
@LAW
def test_the_confusion_sums_to_objects_and_boxes(seed: int, confidence: float) -> None:
    part, found = random_part(seed)
    matches = match(found, part)
    counts = confusion(matches, confidence, 3).counts
    shown = matches.scores >= confidence
    assert counts[:-1].sum(axis=1).tolist() == np.bincount(part.classes, minlength=3).tolist()
    kinds = np.bincount(matches.detections.classes[shown], minlength=3)
    assert counts[:, :-1].sum(axis=0).tolist() == kinds.tolist()
    assert counts[-1, -1] == 0
    true = matches.detections.classes[shown & matches.is_true]
    assert np.diag(counts)[:-1].tolist() == np.bincount(true, minlength=3).tolist()


def test_who_knows_the_answers_has_a_diagonal_and_ones() -> None:
    part, _ = random_part(3)
    found = perfect(part)
    matches = match(found, part)
    read = curves(precision_table(found, part)[0, :, :, 0], matches, part.names)
    assert read.precision.tolist() == pytest.approx([1.0] * 101)
    assert matches.is_true.all()
    # Any confidence up to the boxes' 0.9 is as good: the middle one is told.
    assert read.best_confidence == pytest.approx(0.45)
    assert read.f1[:91].tolist() == pytest.approx([1.0] * 91)
    assert read.f1[91:].tolist() == [0.0] * 10
    counts = confusion(matches, read.best_confidence, 3).counts
    assert (counts == np.diag(np.diag(counts))).all()
    assert false_boxes(matches, part) == ()
    assert missed_objects(matches, part, read.best_confidence) == ()


def test_nothing_found_at_all() -> None:
    part, _ = random_part(3)
    found = [detections() for _ in range(len(part))]
    matches = match(found, part)
    read = curves(precision_table(found, part)[0, :, :, 0], matches, part.names)
    assert read.f1.tolist() == [0.0] * 101
    assert read.best_confidence == USUAL_CONFIDENCE
    counts = confusion(matches, read.best_confidence, 3).counts
    assert counts[:, -1].sum() == counts.sum() == len(part.classes)
    assert false_boxes(matches, part) == ()
    missed = missed_objects(matches, part, read.best_confidence)
    assert len(missed) == min(SHOWN, len(part.classes))
    assert {one.why for one in missed} == {"no box of any score"}


def test_the_best_confidence_is_the_middle_of_the_first_best_stretch() -> None:
    f1 = np.zeros(101)
    f1[[20, 21, 22, 23, 60]] = 0.7
    assert best_confidence(f1) == CONFIDENCES[21]
    f1[100] = 0.8
    assert best_confidence(f1) == 1.0


def test_a_class_taken_for_another_is_no_miss_and_no_false_box() -> None:
    part = image_set([[(0, 10, 10, 30, 30), (1, 50, 50, 70, 70)]], NAMES)
    found = [detections((1, 0.9, 10, 10, 30, 28), (1, 0.8, 50, 50, 70, 70), (2, 0.7, 80, 0, 90, 9))]
    matches = match(found, part)
    counts = confusion(matches, 0.5, 3).counts
    assert counts.tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert confusion(matches, 0.95, 3).counts[:, -1].tolist() == [1, 1, 0, 0]
    # Of two boxes on one object the own class's counts, though the other overlaps it more.
    twice = [detections((0, 0.9, 10, 10, 30, 26), (1, 0.8, 10, 10, 30, 30))]
    assert confusion(match(twice, part), 0.5, 3).counts[0].tolist() == [1, 0, 0, 0]


def told(part: ImageSet, *rows: tuple[float, ...]) -> list[str]:
    return [one.why for one in false_boxes(match([detections(*rows)], part), part)]


def test_mistakes_say_what_is_there_instead() -> None:
    part = image_set([[(0, 10, 10, 30, 30), (1, 50, 50, 70, 70)]], NAMES)
    assert told(part, (0, 0.9, 80, 0, 90, 9)) == ["nothing is labelled here"]
    assert told(part, (1, 0.9, 10, 10, 30, 30)) == ["it is cat, IoU 1.00"]
    assert told(part, (0, 0.9, 10, 10, 30, 18)) == ["beside cat, IoU 0.40"]
    twice = ((0, 0.9, 10, 10, 30, 30), (0, 0.8, 10, 10, 30, 29))
    assert told(part, *twice) == ["a second box of it, IoU 0.95"]
    matches = match([detections((0, 0.2, 10, 10, 30, 30))], part)
    missed = missed_objects(matches, part, 0.5)
    assert [(one.name, one.why) for one in missed] == [
        ("dog", "no box of any score"),
        ("cat", "its box scores 0.20"),
    ]
    assert [one.name for one in missed_objects(matches, part, 0.1)] == ["dog"]


def test_a_mistake_is_cut_out_with_its_box_inside() -> None:
    part = image_set([[(0, 0, 0, 6, 4), (1, 95, 90, 100, 100)]], NAMES)
    missed = missed_objects(match([detections()], part), part, 0.5)
    for one in missed:
        height, width = one.crop.pixels.shape[:2]
        left, top, right, bottom = one.crop.box
        assert (width, height) == (40, 40)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert right - left == pytest.approx(one.box[2] - one.box[0])


def test_sizes_are_those_of_the_pictures_as_they_came() -> None:
    """A picture of 400 px that is graded at 100: an object of 25 px there has 100."""
    part = image_set([[(0, 0, 0, 25, 25), (1, 50, 50, 55, 55)]], NAMES)
    from dataclasses import replace

    large = replace(part, sizes=part.sizes * 4)
    found = [detections((0, 0.9, 0, 0, 100, 100))]
    table = precision_table(found, large, (ANY_AREA, *SIZES.values()))
    boxes = match(found, large).objects.boxes
    grades = size_grades(table[..., 1:], boxes)
    assert [one.name for one in grades] == ["small", "medium", "large"]
    assert [one.objects for one in grades] == [1, 0, 1]
    assert [one.map50 for one in grades] == [0.0, None, pytest.approx(1.0)]
    # The same picture as it came is all small, and the box is beside it.
    own = size_grades(
        precision_table(found, part, (ANY_AREA, *SIZES.values()))[..., 1:], part.boxes
    )
    assert [one.objects for one in own] == [2, 0, 0]


def test_overlap_of_nothing_and_of_boxes_without_area() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 5, 5, 5]])
    assert overlap(boxes, boxes).tolist() == [[1, 0], [0, 0]]
    assert overlap(boxes, np.zeros((0, 4))).shape == (2, 0)


def test_no_images_but_backgrounds_match_nothing() -> None:
    part = image_set([[(0, 10, 10, 30, 30)], []], NAMES)
    found: list[Detections] = [detections(), detections((0, 0.9, 10, 10, 30, 30))]
    (one,) = false_boxes(match(found, part), part)
    assert one.why == "nothing is labelled in this picture"
    assert one.file == "image-1"
