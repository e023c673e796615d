import pytest

from nerfblendshape_ns.process_data.report.quality_grades import quality_grades


def document(**changes):
    summaries = {
        "frames": {"fps": 25.0},
        "landmarks": {"num_frames": 1000},
        "head pose": {
            "reprojection_rms_pixels_at_512": 1.8,
            "reprojection_max_frame_pixels_at_512": 3.0,
            "yaw_range_degrees": [-20.0, 25.0],
        },
        "expressions": {"basis": "arkit52", "moving": 34, "coefficients": 52},
        "segmentation": {"iou_without_motion": {"head": [0.995, 0.98]}},
        "background": {"never_seen": 0.5},
    }
    camera = {"moving": False, "drift_px": 0.4}
    for name, values in changes.items():
        if name == "camera":
            camera = values
        else:
            summaries[name.replace("_", " ")].update(values)
    return {"steps": {name: {"summary": summary} for name, summary in summaries.items()}, "camera": camera}


def test_a_good_clip_is_good_throughout():
    found = quality_grades(document())
    assert [grade.grade for grade in found] == ["good"] * 7
    assert found[0].text == "1000 frames, 40 s."


@pytest.mark.parametrize(
    "change, aspect, grade, text",
    [
        ({"landmarks": {"num_frames": 200}}, "length", "look", "200 frames, 8 s: short"),
        ({"head_pose": {"reprojection_rms_pixels_at_512": 3.0}}, "head pose", "look", "3.0 px of 512"),
        ({"head_pose": {"reprojection_max_frame_pixels_at_512": 9.0}}, "head pose", "look", "9.0 in the worst frame"),
        ({"head_pose": {"reprojection_rms_pixels_at_512": 5.0}}, "head pose", "poor", "the avatar will be blurred"),
        ({"head_pose": {"yaw_range_degrees": [1.0, 4.0]}}, "views", "look", "from 1 to 4 degrees"),
        ({"expressions": {"moving": 5}}, "expressions", "poor", "5 of 52"),
        ({"expressions": {"moving": 15}}, "expressions", "look", "the others will do nothing"),
        ({"expressions": {"moving": 6, "coefficients": 6}}, "expressions", "good", "6 of 6 coefficients move."),
        ({"segmentation": {"iou_without_motion": {"head": [0.95, 0.8]}}}, "masks", "poor", "the outline flickers"),
        (
            {"segmentation": {"iou_without_motion": {"head": [0.99, 0.8]}}},
            "masks",
            "look",
            "look where the outline changes",
        ),
        ({"segmentation": {"iou_without_motion": {"head": None}}}, "masks", "poor", "0.0% (least 0.0%)"),
        ({"camera": {"moving": True, "drift_px": 30.0}}, "camera", "poor", "30.0 px of 512: the camera moves"),
        (
            {"camera": {"moving": True, "drift_px": 0.3, "jumps": [40]}},
            "camera",
            "poor",
            "the background jumps at frame 40: clean plate",
        ),
        ({"camera": {"moving": None, "drift_px": 0.0}}, "camera", "unknown", "too little to measure"),
        ({"background": {"never_seen": 0.9}}, "clean plate", "look", "90%"),
    ],
)
def test_each_aspect_has_its_limits(change, aspect, grade, text):
    found = {graded.aspect: graded for graded in quality_grades(document(**change))}[aspect]
    assert found.grade == grade and text in found.text
