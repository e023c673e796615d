"""Published figures beside ours."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from nerfblendshape_ns.recipes.published import PublishedRow, print_published, published_beside

PUBLISHED = [
    PublishedRow("Mesh", "whole", "ten clips", "own page", psnr=20.5),
    PublishedRow("Field", "head", "one clip", "secondary", psnr=30.25, ssim=0.9, lpips=0.05),
    PublishedRow("Cloud [x]", "head", "two clips", "secondary", psnr=29.0),
]


def printed(rows, differs="the crops") -> str:
    console = Console(file=StringIO(), width=140)
    print_published(PUBLISHED, differs, "mine", rows, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_each_row_stands_below_ours_of_the_same_kind():
    text = printed({"head": {"psnr": 28.123456, "ssim": 0.8}, "mask": {"psnr": 22.0}})
    lines = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells == [
        ["mine", "head", "28.12", "0.8", "–", "this run", "this clip; LPIPS with AlexNet"],
        ["Field", "head", "30.25", "0.9", "0.05", "secondary", "one clip"],
        ["Cloud [x]", "head", "29", "–", "–", "secondary", "two clips"],
    ]
    assert text.splitlines()[-1] == "what differs: the crops"


def test_nothing_is_printed_where_no_row_of_ours_is_published():
    assert printed({"true_torso": {"psnr": 28.0}}) == ""


def test_the_file_of_the_figures_keeps_them_with_what_differs():
    assert published_beside(PUBLISHED, "the crops", {"true_torso": {"psnr": 28.0}}) == []
    (row,) = published_beside(PUBLISHED, "the crops", {"whole": {"psnr": 28.0}})
    assert row == {
        "method": "Mesh",
        "row": "whole",
        "measured": "ten clips",
        "source": "own page",
        "psnr": 20.5,
        "ssim": None,
        "lpips": None,
        "differs": "the crops",
    }
