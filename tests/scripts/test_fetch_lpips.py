"""nbs-fetch-lpips from the command line."""

import pytest
from stand_in_lpips import install

from nerfblendshape_ns.scripts.fetch_lpips import main


def test_it_says_where_the_weights_are(monkeypatch, tmp_path, capsys):
    install(monkeypatch, tmp_path)
    main([])
    assert capsys.readouterr().out == (
        f"LPIPS weights: {tmp_path / 'alexnet.ckpt'}\nLPIPS weights: {tmp_path / 'vgg16.ckpt'}\n"
    )


def test_a_failure_is_one_sentence_and_an_exit_status(monkeypatch, tmp_path, capsys):
    install(monkeypatch, tmp_path, ["alex"])
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err == (
        f"error: the LPIPS weights could not be fetched: NBS_LPIPS names {tmp_path}, which does not hold the right "
        "alexnet.ckpt and vgg16.ckpt, and nothing is fetched into it; leave NBS_LPIPS out to have the weights in the "
        "cache.\n"
    )
