"""What a picture scores that knows nothing of expression and pose: what a trained model must beat."""

from __future__ import annotations

from typing import Any, Dict

import torch

from nerfblendshape_ns.model_components.metrics.image_metrics import head_metrics, psnr


def mean_picture(pipeline: Any, split: str = "test") -> Dict[str, float]:
    """Figures on the frames of a split, averaged, of the mean of all training images.

    Returns:
        those of :func:`head_metrics`; ``psnr_colour``, inside the head mask, of the head's mean colour there.
    """
    datamanager = pipeline.datamanager
    train = datamanager.train_dataset
    frames = train if split == "train" else datamanager.eval_dataset
    images = [train[index] for index in range(len(train))]
    mean = torch.stack([image["image"] for image in images]).mean(0)
    inside = [image["image"][image["alpha"][..., 0] > 0.5] for image in images]
    colour = torch.cat(inside).mean(0).expand_as(mean)
    measured = []
    for index in range(len(frames)):
        image, head = frames[index]["image"], frames[index]["alpha"][..., 0] > 0.5
        measured.append({**head_metrics(mean, image, head), "psnr_colour": psnr(colour, image, head)})
    return {name: sum(one[name] for one in measured) / len(measured) for name in measured[0]}
