"""Head masks against their visual hull: frames whose mask or pose disagrees with the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from nerfblendshape_ns.check.findings import Section
from nerfblendshape_ns.check.trial import part_of, untrained_head
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import name_frames, spread
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParser, NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.method_configs import nerfblendshape_head_small

MAX_FRAMES = 200
"""Of a longer clip so many training frames, evenly spread, are looked at."""
OUTSIDE = 0.01
"""Fraction of a mask outside the hull beyond which its mask or pose is to be looked at."""


def check_hull(config: NerfBlendshapeDataParserConfig) -> Section:
    """Find out how much of each training frame's head mask lies outside the visual hull of all, as training does.

    Training makes room for what lies outside, but where frames disagree it cannot be sharp.

    Args:
        config: how to read a dataset that has no errors; its image size is replaced by the small method's.
    """
    section = Section("hull", topic="masks")
    method = nerfblendshape_head_small.config
    max_size = method.pipeline.datamanager.dataparser.max_size  # type: ignore[attr-defined]
    try:
        outputs = NerfBlendshapeDataParser(replace(config, max_size=max_size)).get_dataparser_outputs("train")
        chosen = torch.tensor(spread(len(outputs.image_filenames), MAX_FRAMES))
        dataset = NerfBlendshapeDataset(part_of(outputs, chosen))
        dataset.load()
        device = method.machine.device_type
        outside = untrained_head(method, outputs, device).init_from_visual_hull(dataset).cpu().numpy()
    except UserError as error:
        section.user_error(error)
        return section
    numbers = np.array(dataset.metadata["img_ids"])
    worst = int(outside.argmax())
    fraction, frame, seen = float(outside[worst]), int(numbers[worst]), len(numbers)
    section.figures.update({"frames_read": seen, "worst_fraction": fraction, "worst_frame": frame})
    where = f"frame {frame} of {seen}" if fraction else f"{seen} frames"
    words = f"at most {fraction:.1%} of a mask lies outside ({where})"
    section.rows.append(("visual hull", words))
    apart = numbers[outside > OUTSIDE]
    if len(apart):
        section.warn(
            f"more than {OUTSIDE:.0%} of the head's mask lies outside the visual hull of all masks in "
            f"{name_frames(apart, 6)} (of {seen} looked at); worst is frame {frame} with {fraction:.1%}: mask or pose "
            "disagrees with the other frames', and what they disagree on will be blurred",
            "look at mask and pose of these frames; drop single ones that are wrong, or process the video again",
            apart,
        )
    return section
