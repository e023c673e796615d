"""Left and right by name."""

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES
from nerfblendshape_ns.coefficient_names.sides import side_pairs


def test_pairs_are_the_two_sides_of_the_face():
    names = ["eyeBlinkLeft", "jawOpen", "eyeBlinkRight", "left_brow", "right_brow", "lid_L", "lid_R", "cheekLeft"]
    pairs = side_pairs(names)
    assert pairs == {0: 2, 2: 0, 3: 4, 4: 3, 5: 6, 6: 5}


def test_the_two_directions_of_one_motion_are_no_pair():
    names = ["jawLeft", "jawRight", "mouthLeft", "mouthRight"]
    assert side_pairs(names) == {}
    assert side_pairs(names, sideways=True) == {0: 1, 1: 0, 2: 3, 3: 2}


def test_words_that_contain_a_side_are_none():
    assert side_pairs(["leftover", "rightover", "Leftish", "Rightish"]) == {}


def test_every_coefficient_of_arkit_that_names_a_side_has_a_partner():
    pairs = {ARKIT_NAMES[one]: ARKIT_NAMES[other] for one, other in side_pairs(ARKIT_NAMES, sideways=True).items()}
    sided = [name for name in ARKIT_NAMES if name.endswith(("Left", "Right"))]
    assert set(pairs) == set(sided) and len(sided) == 40
    assert all(
        pairs[name].removesuffix("Right") == name.removesuffix("Left") for name in sided if name.endswith("Left")
    )
    lower = [name.lower() for name in ARKIT_NAMES]
    assert side_pairs(lower, sideways=True) == side_pairs(ARKIT_NAMES, sideways=True)
