"""What options.json tells of where a run's numbers come from."""

import shutil
import subprocess

import pytest

from utils import record


@pytest.mark.skipif(not shutil.which("git"), reason="no Git")
def test_the_commit_is_told_by_no_tag(tmp_path, monkeypatch):
    def git(*command):
        identity = "-c", "user.name=a", "-c", "user.email=a@b"
        command = "git", "-C", tmp_path, *identity, *command
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    monkeypatch.setattr(record, "__file__", str(tmp_path / "record.py"))
    assert record.commit() is None
    git("init")
    (tmp_path / "file").touch()
    git("add", ".")
    git("commit", "-m", "first")
    git("tag", "-a", "v1", "-m", "version 1")
    head = git("rev-parse", "HEAD").strip()
    assert record.commit() == head
    (tmp_path / "file").write_text("edited")
    assert record.commit() == f"{head}+"
