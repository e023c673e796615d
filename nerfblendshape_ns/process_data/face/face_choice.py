"""Who is the subject when several faces are seen: the largest and most persistent one, followed through the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional, Sequence

import numpy as np

from nerfblendshape_ns.process_data.face.face_finder import Box

# A face is the same person's as one seen before if its centre moved by less than this many face heights (more after a
# longer time unseen) and its height changed by less than this factor.
REACH, REACH_A_SECOND, HEIGHT_FACTOR = 0.7, 0.5, 1.7
LONGEST_MEMORY = 4.0
# Another face counts as company if it is seen in this share of the looked-at frames.
COMPANY_SHARE = 0.1


@dataclass
class Person:
    """One face followed through the looked-at frames."""

    times: List[float] = field(default_factory=list)
    """Seconds at which it was seen."""
    boxes: List[Box] = field(default_factory=list)
    """Where."""

    @property
    def weight(self) -> float:
        """Sum of face heights over the frames: large and persistent."""
        return sum(box[3] - box[1] for box in self.boxes)

    def distance(self, box: Box, seconds: float) -> float:
        """How far ``box`` is from where this face was last, 1 at the limit of what one person can do."""
        last, elapsed = self.boxes[-1], seconds - self.times[-1]
        heights = last[3] - last[1], box[3] - box[1]
        if elapsed > LONGEST_MEMORY or max(heights) > HEIGHT_FACTOR * min(heights):
            return float("inf")
        centre = np.hypot(last[0] + last[2] - box[0] - box[2], last[1] + last[3] - box[1] - box[3]) / 2
        return float(centre) / ((REACH + REACH_A_SECOND * elapsed) * max(heights))


def follow_people(times: Sequence[float], faces: Sequence[Sequence[Box]]) -> List[Person]:
    """Join the faces of successive frames to people, the heaviest first.

    Args:
        times: seconds of each looked-at frame, ascending.
        faces: the boxes seen in each.
    """
    people: List[Person] = []
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
        people += [Person([seconds], [box]) for index, box in enumerate(boxes) if index not in joined]
    return sorted(_rejoin(people), key=lambda person: person.weight, reverse=True)


def _rejoin(people: List[Person]) -> List[Person]:
    """Join pieces that are never seen together and lie where the earlier one ended (a face turned away for long)."""
    people = sorted(people, key=lambda person: person.times[0])
    joined: List[Person] = []
    for person in people:
        for earlier in joined:
            if earlier.times[-1] < person.times[0]:
                near = Person(earlier.times[-1:], earlier.boxes[-1:])
                near.times[0] = max(near.times[0], person.times[0] - LONGEST_MEMORY)
                if near.distance(person.boxes[0], person.times[0]) <= 1.0:
                    earlier.times += person.times
                    earlier.boxes += person.boxes
                    break
        else:
            joined.append(person)
    return joined


def company(people: Sequence[Person], num_looked_at: int) -> List[Person]:
    """People other than the first who are there for long enough to be told of."""
    return [person for person in people[1:] if len(person.times) >= max(2, COMPANY_SHARE * num_looked_at)]


def describe_company(people: Sequence[Person], num_looked_at: int, width: int) -> Optional[str]:
    """The warning about other faces, or None where there are none."""
    others = company(people, num_looked_at)
    if not others:
        return None
    subject = people[0]
    words = [f"{_place(person, width)}, {_height(person):.0f} pixels high" for person in others]
    return (
        f"{len(others) + 1} faces are seen; the largest and most persistent one is used ({_place(subject, width)}, "
        f"{_height(subject):.0f} pixels high, in {len(subject.times) / num_looked_at:.0%} of the frames looked at), "
        f"not {'; '.join(words)}. Cut the other people off if they come near the face."
    )


def _height(person: Person) -> float:
    return float(np.median([box[3] - box[1] for box in person.boxes]))


def _place(person: Person, width: int) -> str:
    centre = float(np.median([(box[0] + box[2]) / 2 for box in person.boxes])) / width
    return "left" if centre < 0.4 else "right" if centre > 0.6 else "in the middle"
