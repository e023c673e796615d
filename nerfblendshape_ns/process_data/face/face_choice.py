"""Who is the subject when several faces are seen: the largest and most persistent one, followed through the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional, Sequence

import numpy as np

from nerfblendshape_ns.process_data.face.face_finder import Box

# A face is the same person's as one seen before if its centre moved by less than this many face heights (more after a
# longer time unseen) and its height changed by less than this factor.
MOST_SHIFT, MOST_SHIFT_PER_SECOND, HEIGHT_FACTOR = 0.7, 0.5, 1.7
LONGEST_MEMORY = 4.0
# Another face is reported if it is seen in this fraction of the probed frames.
BYSTANDER_FRACTION = 0.1


@dataclass
class FaceSequence:
    """One person's face, followed through the probed frames."""

    times: List[float] = field(default_factory=list)
    """Seconds at which it was seen."""
    boxes: List[Box] = field(default_factory=list)
    """Its bounding box at each of them."""

    @property
    def weight(self) -> float:
        """Sum of face heights over the frames: greatest for a face that is large and persistent."""
        return sum(box[3] - box[1] for box in self.boxes)

    def distance(self, box: Box, seconds: float) -> float:
        """How far ``box`` is from where this face was last, 1 at the limit for one person; infinite for another."""
        last, elapsed = self.boxes[-1], seconds - self.times[-1]
        heights = last[3] - last[1], box[3] - box[1]
        if elapsed > LONGEST_MEMORY or max(heights) > HEIGHT_FACTOR * min(heights):
            return float("inf")
        centre = np.hypot(last[0] + last[2] - box[0] - box[2], last[1] + last[3] - box[1] - box[3]) / 2
        return float(centre) / ((MOST_SHIFT + MOST_SHIFT_PER_SECOND * elapsed) * max(heights))


def follow_people(times: Sequence[float], faces: Sequence[Sequence[Box]]) -> List[FaceSequence]:
    """Join the faces of successive frames to those of people, the one of greatest weight first.

    Args:
        times: seconds of each probed frame, ascending.
        faces: the boxes seen in each.
    """
    people: List[FaceSequence] = []
    for seconds, boxes in zip(times, faces):
        pairs = sorted(
            (person.distance(box, seconds), number, index)
            for number, person in enumerate(people)
            for index, box in enumerate(boxes)
        )
        taken, joined = set(), set()
        for distance, number, index in pairs:
            if distance <= 1.0 and number not in taken and index not in joined:
                people[number].times.append(seconds)
                people[number].boxes.append(boxes[index])
                taken.add(number)
                joined.add(index)
        people += [FaceSequence([seconds], [box]) for index, box in enumerate(boxes) if index not in joined]
    return sorted(_rejoin(people), key=lambda person: person.weight, reverse=True)


def _rejoin(people: List[FaceSequence]) -> List[FaceSequence]:
    """Join pieces that are never seen together and lie where the earlier one ended (a face turned away for long)."""
    people = sorted(people, key=lambda person: person.times[0])
    joined: List[FaceSequence] = []
    for person in people:
        for earlier in joined:
            if earlier.times[-1] < person.times[0]:
                near = FaceSequence(earlier.times[-1:], earlier.boxes[-1:])
                near.times[0] = max(near.times[0], person.times[0] - LONGEST_MEMORY)
                if near.distance(person.boxes[0], person.times[0]) <= 1.0:
                    earlier.times += person.times
                    earlier.boxes += person.boxes
                    break
        else:
            joined.append(person)
    return joined


def bystanders(people: Sequence[FaceSequence], num_probes: int) -> List[FaceSequence]:
    """People other than the first who are there for long enough to be reported."""
    return [person for person in people[1:] if len(person.times) >= max(2, BYSTANDER_FRACTION * num_probes)]


def describe_bystanders(people: Sequence[FaceSequence], num_probes: int, width: int) -> Optional[str]:
    """The warning about other faces, or None where there are none.

    Args:
        people: the subject first.
        num_probes: how many frames were probed.
        width: of the video in pixels.
    """
    others = bystanders(people, num_probes)
    if not others:
        return None
    return (
        f"{len(others) + 1} faces are seen; the largest and most persistent one is used "
        f"({_position_and_height(people[0], width)}, in {len(people[0].times) / num_probes:.0%} of the probed frames), "
        f"not {'; '.join(_position_and_height(person, width) for person in others)}. Crop the other people out if they "
        "come near the face."
    )


def _position_and_height(person: FaceSequence, width: int) -> str:
    centre = float(np.median([(box[0] + box[2]) / 2 for box in person.boxes])) / width
    position = "left" if centre < 0.4 else "right" if centre > 0.6 else "in the middle"
    return f"{position}, {np.median([box[3] - box[1] for box in person.boxes]):.0f} pixels high"
