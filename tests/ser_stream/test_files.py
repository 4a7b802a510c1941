import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ser_stream import files
from ser_stream.errors import ConfigError
from ser_stream.files import (
    cache_folder,
    config_folder,
    making_folder,
    name_from_utf8,
    replacing,
    sha256,
    utf8_name,
    write_text,
)


def test_what_is_written_becomes_the_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old\r\n")
    write_text(tmp_path / "a.txt", "new\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"new\r\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def broken() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    failed: list[BaseException] = []

    def write(text: str) -> None:
        try:
            for _ in range(50):
                write_text(path, text * 10_000)
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(text,)) for text in "abcd"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            text = path.read_text()
            assert text in {c * 10_000 for c in "abcd"}
    assert not failed
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_of_two_folders_that_are_made_at_once_the_first_stays(tmp_path: Path) -> None:
    with making_folder(tmp_path / "a") as late:
        (late / "x").write_text("late")
        assert not (tmp_path / "a").exists()
        with making_folder(tmp_path / "a") as early:
            (early / "x").write_text("early")
    assert (tmp_path / "a" / "x").read_text() == "early"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_whose_making_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with making_folder(tmp_path / "a") as part:
            (part / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert not list(tmp_path.iterdir())


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    program = (
        "import os, sys\n"
        "from ser_stream.files import replacing\n"
        "with replacing(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = (p for p in tmp_path.iterdir() if p != path)
    assert left.name.startswith(".a.")
    assert files.PART in left.name


def test_permissions(tmp_path: Path) -> None:
    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    before = os.umask(0o022)
    try:
        write_text(tmp_path / "open", "")
        write_text(tmp_path / "private", "", private=True)
        (tmp_path / "own").write_text("")
        (tmp_path / "own").chmod(0o660)
        write_text(tmp_path / "own", "new", private=True)
    finally:
        os.umask(before)
    assert (mode("open"), mode("private"), mode("own")) == (0o644, 0o600, 0o660)


def test_a_link_is_followed_and_a_device_written_directly(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    with replacing(os.devnull) as part:
        assert part == Path(os.devnull)


def test_a_folder_that_is_not_there_is_refused_in_the_systems_words(tmp_path: Path) -> None:
    with pytest.raises(OSError) as told:  # noqa: PT011 every kind is meant
        write_text(tmp_path / "none" / "a.txt", "")
    assert files.os_reason(told.value) == "No such file or directory"


def test_user_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SER_STREAM_CACHE", "SER_STREAM_CONFIG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache_folder("x") == tmp_path / ".cache" / "ser-stream" / "x"
        assert config_folder() == tmp_path / ".config" / "ser-stream"
    monkeypatch.setenv("SER_STREAM_CACHE", str(tmp_path / "c"))
    monkeypatch.setenv("SER_STREAM_CONFIG", str(tmp_path / "d"))
    assert cache_folder("x") == tmp_path / "c" / "x"
    assert config_folder() == tmp_path / "d"


def test_no_home_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SER_STREAM_CONFIG", raising=False)
    monkeypatch.setattr("platformdirs.user_config_path", lambda *a, **k: Path("~/.config/x"))
    with pytest.raises(ConfigError, match="set HOME or SER_STREAM_CONFIG"):
        config_folder()


def test_a_user_that_the_system_does_not_know_works_without_home() -> None:
    as_nobody = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
    try:
        subprocess.run([*as_nobody, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no user namespaces here")
    unknown = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "SER_STREAM_CONFIG")
    env = {k: v for k, v in os.environ.items() if k not in unknown}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*as_nobody, sys.executable, "-m", "ser_stream.cli", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    refused = run("score", "--profile", "me", "a.wav")
    line = "error: no home folder is known; set HOME or SER_STREAM_CONFIG\n"
    assert (refused.returncode, refused.stderr) == (1, line)
    # Whatever needs no folder of the user's works.
    scored = run("demo", "--fast", "--duration", "3", "--jsonl")
    assert scored.returncode == 0, scored.stderr
    assert '"end_s": 2.0' in scored.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain.wav", "plain.wav"),
        ("größe.wav".encode(), "größe.wav"),
        (b"caf\xe9.wav", "caf\\xe9.wav"),
        (b"\xff\xc3\xa4\x80", "\\xffä\\x80"),
    ],
)
def test_a_name_that_is_not_utf_8_can_be_written_and_found_again(name: bytes, text: str) -> None:
    known = name.decode("utf-8", "surrogateescape")
    assert utf8_name(known) == text
    assert name_from_utf8(text) == known


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256(tmp_path / "empty") == empty
