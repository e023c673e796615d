"""The tables of README.md and docs/results.md, described as data: which recipes, which lines, which figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from result_figures import ALIGNMENT, FRAMES, RUN, SEEDS, Source

OURS = "this method"
VARIANTS = {
    "concat": "concatenation",
    "static": "static field",
    "frame-code": "code per frame",
    "nerfblendshape": "NeRFBlendShape",
    "nerfblendshape-unofficial": "nerfblendshape-unofficial",
}
"""Baselines by the variant that runs them."""

SYNTHETIC = "synthetic"
CLIPS = (SYNTHETIC, "clip-*", "clip")
EQUAL_STEPS, EQUAL_TIME = ("baselines",), ("baselines-time",)


@dataclass(frozen=True)
class Line:
    """One line of each clip."""

    label: str
    """What it shows."""
    variant: Optional[str] = None
    """Of this variant of the recipe; None of the recipe itself."""
    split: str = "test"
    """Of this split."""


@dataclass(frozen=True)
class Column:
    """One column; several figures are separated by slashes."""

    title: str
    """Its head."""
    sources: Tuple[Source, ...]
    """Its figures."""
    averaged: bool = True
    """Whether a mean over clips says something."""


@dataclass(frozen=True)
class Table:
    """A table with the same lines for each clip."""

    title: str
    """Its heading; empty for the table of README.md."""
    note: str
    """What stands between heading and table."""
    recipes: Tuple[str, ...]
    """Patterns of the recipes' names."""
    lines: Tuple[Line, ...]
    """Of each clip."""
    columns: Tuple[Column, ...]
    """Of the figures."""
    mean_over: Optional[str] = None
    """Pattern of the recipes over which means are taken at the end."""


@dataclass(frozen=True)
class Differences:
    """How much better or worse this method is than each variant, over the clips that have both; below their table."""

    note: str
    """What stands above it."""
    recipes: Tuple[str, ...]
    """Patterns of the recipes' names."""
    lines: Tuple[Line, ...]
    """The variants."""
    columns: Tuple[Column, ...]
    """Of a single figure each."""


def head(*metrics: str) -> Tuple[Source, ...]:
    """Each metric on the whole head image and inside the mask, of the head's run."""
    return tuple(Source(row, metric) for metric in metrics for row in ("head", "mask"))


def person(row: str, *metrics: str) -> Tuple[Source, ...]:
    """Metrics of a row of the torso's run."""
    return tuple(Source(row, metric, torso=True) for metric in metrics)


def single(row: str, metric: str) -> Tuple[Source, ...]:
    """A metric of a row of the head's run."""
    return (Source(row, metric),)


_FRAMES = Column("frames", (Source(FRAMES, "train"), Source(FRAMES, "test")), averaged=False)
_SEEDS = Column("seeds", single(SEEDS, "seeds"), averaged=False)
_CONCATENATION = Line(VARIANTS["concat"], "concat")
_BESIDE_CONCATENATION = (Line(OURS), _CONCATENATION)
_TEST_AND_TRAIN = (Line("test"), Line("training", split="train"))
_ALL_SPLITS = (
    *_TEST_AND_TRAIN,
    Line("unseen expressions", split="unseen_expressions"),
    Line("unseen views", split="unseen_views"),
)
_COST = (
    Column("steps", single(RUN, "steps")),
    Column("minutes", single(RUN, "minutes")),
)
_QUALITY = (
    Column("PSNR", head("psnr")),
    Column("SSIM", head("ssim")),
    Column("LPIPS", head("lpips")),
)
_POSE_FITTED = Column("PSNR, pose fitted", (Source("aligned", "psnr"), Source("aligned_mask", "psnr")))
_COMPARED = (
    *_QUALITY,
    Column("FLIP", head("flip")),
    Column("mouth, PSNR", single("mouth", "psnr")),
    Column("temporal", single("head", "temporal")),
)
_DIFFERENCES = (
    Column("PSNR", single("head", "psnr")),
    Column("PSNR in the mask", single("mask", "psnr")),
    Column("SSIM in the mask", single("mask", "ssim")),
    Column("LPIPS in the mask", single("mask", "lpips")),
    Column("FLIP in the mask", single("mask", "flip")),
    Column("mouth, PSNR", single("mouth", "psnr")),
    Column("temporal", single("head", "temporal")),
)
_MINUS = (
    "This method minus the baseline, paired by clip: mean ± standard deviation over the clips, and on how many of them "
    "this method is better."
)
_LARGER = (
    _FRAMES,
    *_COST,
    Column("memory, GB", (Source(RUN, "host_memory_mb"), Source(RUN, "host_memory_mb", torso=True))),
    *_QUALITY,
    _POSE_FITTED,
    Column("sharpness", head("sharpness")),
    Column("whole person, PSNR", person("whole", "psnr")),
    Column("SSIM", person("whole", "ssim")),
    Column("LPIPS", person("whole", "lpips")),
)
_BASELINES = tuple(Line(label, variant) for variant, label in VARIANTS.items())

README_TABLE = Table(
    "",
    "",
    CLIPS,
    _BESIDE_CONCATENATION,
    (
        _FRAMES,
        *_QUALITY,
        _POSE_FITTED,
        Column("whole person, PSNR", person("whole", "psnr")),
    ),
    mean_over="clip-*",
)

PAGE = (
    Table(
        "Head",
        "Test frames; head on white / inside the head mask. Frames: training / test. Pose fitted: the six numbers "
        "of each frame's head pose are fitted to its image, the avatar frozen; all else uses nothing of a test frame "
        "but its tracking. LPIPS: AlexNet; VGG16 where it says so.",
        CLIPS,
        _BESIDE_CONCATENATION,
        (
            _FRAMES,
            *_COST,
            *_QUALITY,
            _POSE_FITTED,
            Column("LPIPS, VGG16", head("lpips_vgg")),
            Column("FLIP", head("flip")),
            Column("L1", head("l1")),
        ),
        mean_over="clip-*",
    ),
    Differences(
        _MINUS,
        ("clip-*",),
        (_CONCATENATION,),
        _DIFFERENCES,
    ),
    Table(
        "Face and motion",
        "Test frames. PSNR inside the rectangles of mouth and eyes. Landmarks, eyelids and irises: distance "
        "between those found on render and truth, in percent of the distance between the outer eye corners. "
        "Temporal: mean absolute difference of the changes of render and truth from frame to frame, in "
        "thousandths of full brightness. Sharpness: high frequencies relative to the truth's, 1 is as sharp.",
        CLIPS,
        _BESIDE_CONCATENATION,
        (
            Column("mouth, PSNR", single("mouth", "psnr")),
            Column("eyes, PSNR", single("eyes", "psnr")),
            Column("landmarks", single("head", "landmarks")),
            Column("eyelids", single("head", "lids")),
            Column("irises", single("head", "irises")),
            Column("temporal", single("head", "temporal")),
            Column("sharpness", head("sharpness")),
        ),
        mean_over="clip-*",
    ),
    Table(
        "Training frames beside test frames",
        "Head on white / inside the head mask. Of the synthetic head also combinations of coefficients and views "
        "that no frame shows, against their true rendering.",
        CLIPS,
        _ALL_SPLITS,
        (
            *_QUALITY,
            _POSE_FITTED,
            Column("FLIP", head("flip")),
        ),
    ),
    Table(
        "The whole person",
        "The whole frame; the predicted head on the true torso and background; a ring round the line where the "
        "head meets neck or torso; the head on white.",
        CLIPS,
        _ALL_SPLITS,
        (
            Column("whole, PSNR", person("whole", "psnr")),
            Column("SSIM", person("whole", "ssim")),
            Column("LPIPS", person("whole", "lpips")),
            Column("true torso, PSNR", person("true_torso", "psnr")),
            Column("SSIM", person("true_torso", "ssim")),
            Column("LPIPS", person("true_torso", "lpips")),
            Column("seam, PSNR", person("seam", "psnr")),
            Column("head, PSNR", person("head", "psnr")),
            Column("temporal", person("whole", "temporal")),
        ),
    ),
    Table(
        "Where the error lies",
        "Misalignment: median length of the optical flow from truth to render inside the mask (eroded by 3 pixels"
        " of 128), in pixels; on the synthetic head, whose poses and labels are exact, it comes from the model and"
        " the measurement alone, least in training frames. PSNR aligned: with that flow undone. On the outline:"
        " share of the squared error outside the eroded mask. Without a cell: percent of the mask's pixels whose"
        " ray meets no cell that may be occupied. Floaters: mean opacity beyond the mask and a rim round it, in"
        " thousandths.",
        CLIPS,
        _TEST_AND_TRAIN,
        (
            Column("misalignment, px", single(ALIGNMENT, "misalignment")),
            Column("PSNR", single("head", "psnr")),
            Column("aligned", single(ALIGNMENT, "psnr_aligned")),
            Column("in the mask", single("mask", "psnr")),
            Column("aligned", single(ALIGNMENT, "psnr_mask_aligned")),
            Column("on the outline, %", single(ALIGNMENT, "outline_share")),
            Column("without a cell, %", single(ALIGNMENT, "without_cell")),
            Column("floaters", single(ALIGNMENT, "floaters")),
        ),
    ),
    Table(
        "Images of 256 pixels",
        "The medium methods; test frames. Memory: of the process, head / torso, which trained one after the other: the "
        "torso's contains the head's.",
        ("medium",),
        (Line(OURS),),
        _LARGER,
        mean_over="medium",
    ),
    Table(
        "Images of 480 pixels",
        "The large methods, made for GPUs, on one CPU core: 65 and 20 minutes, a fifth of the head's steps. "
        "Memory as above.",
        ("large",),
        (Line(OURS),),
        _LARGER,
    ),
    Table(
        "Baselines at equal steps",
        "A short schedule; test frames; head on white / inside the head mask; mean ± standard deviation over the "
        "seeds. All have the same poses, masks, hull and losses. Static field: no coefficients. Code per frame: a"
        " learnt code in their place. NeRFBlendShape and nerfblendshape-unofficial: this code with their "
        "hyper-parameters, which are meant for a GPU and many more steps, so these lines say how they begin and not "
        "what they reach; LPIPS is among their losses.",
        EQUAL_STEPS,
        (Line(OURS), *_BASELINES),
        (_SEEDS, *_COST, *_COMPARED),
        mean_over="baselines",
    ),
    Differences(_MINUS, EQUAL_STEPS, _BASELINES, _DIFFERENCES),
    Table(
        "Baselines at equal time",
        "The same, but all trained for the same time, two minutes on a CPU core, in which NeRFBlendShape and "
        "nerfblendshape-unofficial hardly begin.",
        EQUAL_TIME,
        (Line(OURS), *_BASELINES),
        (_SEEDS, *_COST, *_COMPARED),
        mean_over="baselines-time",
    ),
    Differences(_MINUS, EQUAL_TIME, _BASELINES, _DIFFERENCES),
)
