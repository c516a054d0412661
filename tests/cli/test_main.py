"""The command as a whole: help, exit statuses, errors in one paragraph, and the verbs that need no TensorFlow."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner
from savedmodel.builder import const, meta_graph, node, placeholder, write_module

import hubkeras
from hubkeras.cli import main as main_module
from hubkeras.cli.demo import MODULE
from hubkeras.cli.main import VERBS, cli, main

ROOT = Path(__file__).parents[2]


def run(*arguments, **environment):
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "hubkeras.cli.main", *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb):
    """Each says what it does and shows a command line."""
    result = CliRunner().invoke(cli, [verb, "--help"])
    assert result.exit_code == 0
    assert f"hubkeras {verb}" in result.output.partition("Examples:")[2]
    assert len(result.output.splitlines()[2].strip()) > 20


def test_help_is_there_at_once(tmp_path):
    """Without TensorFlow, in a fraction of a second of the processor's time."""
    code = (
        "import sys, time\nfrom hubkeras.cli.main import main\n"
        "assert main(['--help']) == 0\n"
        "assert main(['scan', sys.argv[1]]) == 0\n"
        "assert main(['resolve', sys.argv[1]]) == 0\n"
        "assert main(['cache', 'list']) == 0\n"
        "assert main(['show', sys.argv[1], '--json']) == 0\n"
        "assert main(['migrate', 'nowhere']) == 1\n"
        "for verb in (['convert', 'x', 'y', '--to', 'z'], ['demo', '--epochs', '0'], ['run', 'x']):\n"
        "    try: main(verb)\n"
        "    except SystemExit as left: assert left.code == 2\n"
        "assert not {'tensorflow', 'keras', 'rich'} & set(sys.modules)"
    )
    started = time.perf_counter(), os.times()
    env = os.environ | {"PYTHONPATH": str(ROOT), "TFHUB_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code, str(MODULE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert "Usage: hubkeras convert" in done.stderr
    used = os.times().children_user - started[1].children_user
    assert used < 2, f"{used} s"
    assert all(verb in done.stdout for verb in VERBS)


def test_names_nothing_unknown(capsys):
    """What is no verb leaves with usage."""
    with pytest.raises(SystemExit) as left:
        main(["shwo"])
    assert left.value.code == 2
    assert "shwo" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["show", "nothing"], ["scan", "nothing"], ["resolve", "nothing"]])
def test_errors_are_one_paragraph(arguments, tmp_path, capsys, monkeypatch):
    """Status 1, one line, no traceback."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("hubkeras: ")
    assert error.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path, capsys, monkeypatch):
    """Where somebody wants to see it."""
    monkeypatch.chdir(tmp_path)
    assert main(["scan", "nothing", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_unforeseen_errors_are_one_paragraph(capsys, monkeypatch):
    """Also those that nobody thought of."""

    def fail(*_):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(main_module, "_run", fail)
    assert main(["scan", "x"]) == 1
    error = capsys.readouterr().err
    assert "RuntimeError: first line second line" in error
    assert "--debug" in error


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """A module that would write a file."""
    path = tmp_path_factory.mktemp("refused") / "m"
    nodes = [const("path", "/tmp/x"), const("text", "x"), node("write", "WriteFile", "path", "text")]
    nodes.append(node("z", "Identity", "x", "^write"))
    graph = meta_graph([placeholder("x")], nodes, signatures={"default": ({"x": "x:0"}, {"default": "z:0"})})
    write_module(path, graph)
    return path


def test_scan_says_what_the_gate_says(refused, capsys):
    """Status 0 and a word for what is allowed, 1 and the op for what is refused."""
    assert main(["scan", str(MODULE)]) == 0
    assert capsys.readouterr().out.startswith("allowed")
    assert main(["scan", str(refused)]) == 1
    assert "WriteFile (node 'write')" in capsys.readouterr().out


def test_show_prints_tables_and_programs(capsys):
    """Signatures, variables, assets, and what can be pasted."""
    assert main(["show", str(MODULE)]) == 0
    printed = capsys.readouterr().out
    for text in ("TF1 Hub format", "default", "[?, 32]", "embeddings", "vocabulary.txt", "hubkeras.KerasLayer("):
        assert text in printed
    program = printed.partition("Call it")[2].partition("In a Keras model")[0]
    compile(program, "<printed>", "exec")


def test_show_json_and_page(tmp_path, capsys):
    """Both from the same description; a page that cannot be written leaves nothing."""
    import json

    assert main(["show", str(MODULE), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["default_signature"] == "default"
    assert main(["show", str(MODULE), "--html", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["show", str(MODULE), "--html", str(tmp_path / "no" / "page.html")]) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_show_obeys_no_control_characters(tmp_path, capsys):
    """Names of strangers do not reach the terminal as commands."""
    signatures = {"\x1b[31mred": ({"x": "x:0"}, {"default": "y:0"})}
    write_module(tmp_path / "m", meta_graph([placeholder("x"), node("y", "Identity", "x")], signatures=signatures))
    assert main(["show", str(tmp_path / "m")]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_resolve_and_cache(tmp_path, monkeypatch, capsys):
    """List, verify, pin, remove: as the functions of the same names."""
    import shutil

    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", MODULE)
    assert main(["resolve", archive]) == 0
    assert Path(capsys.readouterr().out.strip()).is_dir()
    assert main(["cache", "list"]) == 0
    listed = capsys.readouterr().out
    assert "packed.tar.gz" in listed
    assert "1 modules" in listed
    assert main(["cache", "verify"]) == 0
    assert main(["cache", "pin", archive]) == 0
    assert re.search(r"^[0-9a-f]{64}$", capsys.readouterr().out, re.MULTILINE)
    assert hubkeras.pinned_sha256(archive)
    assert main(["cache", "pin", archive, "--remove"]) == 0
    assert not hubkeras.pinned_sha256(archive)
    next((tmp_path / "cache").glob("*/saved_model.pb")).write_bytes(b"changed")
    assert main(["cache", "verify"]) == 1
    assert main(["cache", "remove", archive]) == 0
    assert hubkeras.cached_modules() == []


def test_pack_check_and_publish(tmp_path, capsys):
    """What they make is used, and what is found gives status 1."""
    assert main(["pack", str(MODULE), str(tmp_path / "m.tar.gz")]) == 0
    assert main(["pack", str(MODULE), str(tmp_path / "m.tar.gz")]) == 1
    assert main(["check-signature", str(MODULE), "text_embedding"]) in (0, 1)
    assert main(["check-signature", str(MODULE), "image_classification"]) == 1
    (tmp_path / "words.txt").write_text("fog 1 2\nhail 3 4\n")
    assert main(["publish-embedding", str(tmp_path / "words.txt"), str(tmp_path / "words")]) == 0
    capsys.readouterr()
    assert main(["run", str(tmp_path / "words"), "--input", "sentences=fog"]) == 0
    assert "[1., 2.]" in capsys.readouterr().out
    assert main(["publish-embedding", str(tmp_path / "nothing.txt"), str(tmp_path / "other")]) == 1
    assert not (tmp_path / "other").exists()


def test_shell_completion_knows_the_verbs():
    """`eval "$(_HUBKERAS_COMPLETE=bash_source hubkeras)"` asks like this."""
    done = run(_HUBKERAS_COMPLETE="bash_complete", COMP_WORDS="hubkeras s", COMP_CWORD="1")
    assert {"plain,scan", "plain,show"} == set(done.stdout.split())


def test_bash_completes(tmp_path):
    """As a user has it who follows the README: the function asks the command, which names verbs."""
    command = tmp_path / "hubkeras"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hubkeras.cli.main "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(_HUBKERAS_COMPLETE=bash_source hubkeras)"
        COMP_WORDS=(hubkeras mig) COMP_CWORD=1
        _hubkeras_completion hubkeras
        echo "${COMPREPLY[@]}"
    """
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300, check=True, env=env)
    assert done.stdout == "migrate\n"
    assert done.stderr == ""


@pytest.mark.parametrize("words", ["show some", "run some_module --inputs some", "convert some_module some"])
def test_handles_and_files_complete_as_files(words, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", f"hubkeras {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    complete = BashComplete(cli, {}, "hubkeras", "_HUBKERAS_COMPLETE")
    assert complete.complete() == "file,some"


def test_a_page_needs_a_folder(tmp_path, capsys):
    assert main(["show", str(MODULE), "--html", str(tmp_path / "no" / "page.html")]) == 1
    assert (
        capsys.readouterr().err
        == f"hubkeras: Cannot write {tmp_path}/no/page.html: there is no folder {tmp_path}/no.\n"
    )
