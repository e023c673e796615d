"""What a training run leaves behind about itself."""

import subprocess
from typing import Optional

from nerfblendshape_ns.engine import training_record


def test_results_do_not_make_a_commit_another_one(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    def asked_anew() -> Optional[str]:
        training_record.commit.cache_clear()
        return training_record.commit()

    for name in ("results/a.json", "package/engine/module.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(training_record, "__file__", str(tmp_path / "package" / "engine" / "module.py"))
    assert asked_anew() is None
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "--short=12", "HEAD").strip()
    (tmp_path / "results" / "a.json").write_text("2")
    (tmp_path / "new.txt").write_text("not tracked")
    assert asked_anew() == head
    (tmp_path / "package" / "engine" / "module.py").write_text("2")
    assert training_record.commit() == head, "what runs was loaded before"
    assert asked_anew() == f"{head}+"
    training_record.commit.cache_clear()
