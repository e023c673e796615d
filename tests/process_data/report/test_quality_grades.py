import pytest

from nerfblendshape_ns.process_data.report.quality_grades import verdicts


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
        "segmentation": {"head_iou_mean": 0.99, "head_iou_min": 0.95, "iou_without_motion": {"head": [0.995, 0.98]}},
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
    found = verdicts(document())
    assert [verdict.grade for verdict in found] == ["good"] * 7
    assert found[0].words == "1000 frames, 40 s."


@pytest.mark.parametrize(
    "change, aspect, grade, words",
    [
        ({"landmarks": {"num_frames": 200}}, "length", "look", "200 frames, 8 s: short"),
        ({"head_pose": {"reprojection_rms_pixels_at_512": 3.0}}, "head pose", "look", "3.0 px of 512"),
        ({"head_pose": {"reprojection_max_frame_pixels_at_512": 9.0}}, "head pose", "look", "9.0 in the worst frame"),
        ({"head_pose": {"reprojection_rms_pixels_at_512": 5.0}}, "head pose", "poor", "the avatar will be blurred"),
        ({"head_pose": {"yaw_range_degrees": [1.0, 4.0]}}, "views", "look", "from 1 to 4 degrees"),
        ({"expressions": {"moving": 5}}, "expressions", "poor", "5 of 52"),
        ({"expressions": {"moving": 15}}, "expressions", "look", "the others will do nothing"),
        ({"expressions": {"basis": "landmark_pca"}}, "expressions", "look", "no meaning outside this clip"),
        ({"segmentation": {"iou_without_motion": {"head": [0.95, 0.8]}}}, "masks", "poor", "it flickers"),
        ({"segmentation": {"iou_without_motion": {"head": [0.99, 0.8]}}}, "masks", "look", "look where it changes"),
        ({"segmentation": {"iou_without_motion": {}}}, "masks", "good", "99.0% (least 95.0%)"),
        ({"camera": {"moving": True, "drift_px": 30.0}}, "camera", "poor", "30.0 px of 512: the camera moves"),
        ({"camera": {"moving": None, "drift_px": 0.0}}, "camera", "unknown", "too little to tell"),
        ({"background": {"never_seen": 0.9}}, "clean plate", "look", "90%"),
    ],
)
def test_each_aspect_has_its_limits(change, aspect, grade, words):
    verdict = {found.aspect: found for found in verdicts(document(**change))}[aspect]
    assert verdict.grade == grade and words in verdict.words


def test_what_is_not_known_is_left_out():
    assert verdicts({"steps": {}}) == []
