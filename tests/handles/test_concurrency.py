"""Many processes, killed processes, several machines, full and forbidden disks."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handles.hosts import Reply
from handles.samples import FILES, contents, make_module, make_tar
from hubkeras.errors import CacheError
from hubkeras.handles.cache import cached_modules, pin
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.resolver import resolve

HERE = Path(__file__).parent
MODULE = {**FILES, **{f"assets/{i}": hashlib.shake_256(bytes([i])).digest(40_000) for i in range(20)}}
ARCHIVE = make_tar(MODULE)


def run(*arguments, seconds=120, **environment):
    result = subprocess.run(
        [sys.executable, str(HERE / "many.py"), *map(str, arguments)],
        env=os.environ | environment, capture_output=True, text=True, timeout=seconds, check=True,
    )  # fmt: skip
    return json.loads(result.stdout)


def names(cache):
    return sorted(path.name for path in cache.iterdir())


def test_sixteen_processes_download_once_and_all_succeed(host, cache):
    """The others wait, and use what the first one fetched."""
    host.replies["/model/1"] = Reply(ARCHIVE, pause=0.03)
    handle = f"{host.url}/model/1"
    facts = run("together", 16, handle)
    entry = CacheEntry.of(cache, handle)
    assert facts["codes"] == [0] * 16
    assert facts["paths"] == [str(entry.directory)] * 16
    assert len(host.requests) == 1
    assert contents(entry.directory) == MODULE
    assert names(cache) == [entry.name, entry.descriptor.name]


def test_threads_download_once(host):
    """In one process as among many."""
    host.replies["/model/1"] = Reply(ARCHIVE, pause=0.02)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(resolve, [f"{host.url}/model/1"] * 8))
    assert len(found) == len(host.requests) == 1


def test_machines_that_share_a_folder_without_locks_never_corrupt_it(host, cache):
    """Each downloads, whoever renames first wins, and nothing is left over."""
    host.replies["/model/1"] = Reply(ARCHIVE, pause=0.02)
    handle = f"{host.url}/model/1"
    facts = run("apart", 8, handle, HUBKERAS_LOCK_TIMEOUT="0")
    entry = CacheEntry.of(cache, handle)
    assert facts["codes"] == [0] * 8
    assert set(facts["paths"]) == {str(entry.directory)}
    assert len(host.requests) > 1
    assert contents(entry.directory) == MODULE
    assert names(cache) == [entry.name, entry.descriptor.name]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_kill_at_any_moment_leaves_nothing_broken(host, cache, seed):
    """Eighty times: no broken entry, no lock that blocks, no litter that stays."""
    host.replies["/model/1"] = Reply(ARCHIVE, pause=0.002)
    handle = f"{host.url}/model/1"
    facts = run("kill", 40, handle, SEED=seed)
    assert facts["broken"] == []
    assert facts["last_code"] == 0
    assert facts["last_seconds"] < 30
    assert facts["with_litter"] > 3, "the kills came too late to mean anything"
    assert facts["left"] == ["SHA1", "SHA1.descriptor.txt"]
    assert contents(CacheEntry.of(cache, handle).directory) == MODULE


def test_living_process_keeps_its_folder(host, cache):
    """Litter is collected from the dead alone."""
    host.replies["/slow/1"] = Reply(ARCHIVE, pause=0.1)
    host.replies["/fast/1"] = ARCHIVE
    slow = subprocess.Popen([sys.executable, str(HERE / "child.py"), f"{host.url}/slow/1"], stdout=subprocess.PIPE)
    while not list(cache.glob("*.tmp/owner")):
        time.sleep(0.02)
    for _ in range(3):
        resolve(f"{host.url}/fast/1")
    assert list(cache.glob("*.tmp/owner"))
    assert contents(slow.communicate(timeout=60)[0].decode().strip()) == MODULE


def test_stopped_process_blocks_nobody_for_longer_than_the_lock_timeout(host, monkeypatch):
    """After that its lock means nothing."""
    host.replies["/model/1"] = [Reply(ARCHIVE, pause=0.1), ARCHIVE]
    handle = f"{host.url}/model/1"
    process = subprocess.Popen([sys.executable, str(HERE / "child.py"), handle], stdout=subprocess.DEVNULL)
    while not host.requests:
        time.sleep(0.02)
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setenv("HUBKERAS_LOCK_TIMEOUT", "0.5")
    assert contents(resolve(handle)) == MODULE
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) == 0
    assert contents(resolve(handle)) == MODULE


def test_litter_of_other_machines_is_collected_after_a_day(host, cache):
    """Nobody can ask whether their processes live."""
    host.replies["/model/1"] = ARCHIVE
    sha1 = "0" * 40
    old, new = (cache / f"{sha1}.elsewhere.1.{suffix}.tmp" for suffix in ("0000000a", "0000000b"))
    for path in (old, new):
        (path / "0").mkdir(parents=True)
    for path in (old / "0", old):
        os.utime(path, (time.time() - 90_000,) * 2)
    resolve(f"{host.url}/model/1")
    assert not old.exists()
    assert new.exists()


def test_foreign_files_in_the_cache_are_left_alone(host, cache):
    """Those of tensorflow_hub at work, and everybody's."""
    host.replies["/model/1"] = ARCHIVE
    sha1 = "1" * 40
    kept = [f"{sha1}.lock", f"{sha1}.0123456789abcdef0123456789abcdef.tmp", "notes.txt", "my.tmp"]
    for name in kept:
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (1, 1))
    resolve(f"{host.url}/model/1")
    assert set(kept) < set(names(cache))


def in_a_child(handle, before=lambda: None, prefix=(), **environment):
    return subprocess.run(
        [*prefix, sys.executable, str(HERE / "child.py"), handle], preexec_fn=before,
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_file_that_the_disk_does_not_take(host, cache):
    """A clear error, and the cache as it was."""
    host.replies["/model/1"], host.replies["/model/2"] = ARCHIVE, make_tar({**FILES, "assets/big": bytes(900_000)})
    kept = resolve(f"{host.url}/model/1")
    before = names(cache)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    result = in_a_child(f"{host.url}/model/2", limit)
    assert result.returncode == 1
    assert "CacheError: The disk of the cache directory" in result.stderr
    assert "is full" in result.stderr
    assert "TFHUB_CACHE_DIR" in result.stderr
    assert names(cache) == before
    assert contents(kept) == MODULE


def test_full_disk(host, tmp_path):
    """A real one of two megabytes; the module fetched before stays whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    trial = subprocess.run([*mount, f"mount -t tmpfs -o size=2m none {disk}"], capture_output=True, check=False)
    if trial.returncode:
        pytest.skip("this system lets nobody mount a disk of his own")
    host.replies["/small/1"] = ARCHIVE
    host.replies["/large/1"] = Reply(make_tar({**FILES, "assets/big": os.urandom(3_000_000)}), length=-1)
    child = f"{sys.executable} {HERE / 'child.py'}"
    script = (
        f"mount -t tmpfs -o size=2m none {disk} && {child} {host.url}/small/1 && "
        f"{child} {host.url}/large/1; HUBKERAS_OFFLINE=1 {child} {host.url}/small/1; ls -A {disk}"
    )
    result = subprocess.run(
        [*mount, script], env=os.environ | {"TFHUB_CACHE_DIR": str(disk)}, capture_output=True, text=True, check=True
    )
    entry = CacheEntry.of(disk, f"{host.url}/small/1")
    assert result.stdout.split() == [str(entry.directory)] * 2 + [entry.name, entry.descriptor.name]
    assert "is full" in result.stderr


def test_lack_of_room_is_seen_before_the_download(host, cache):
    """From Content-Length."""
    host.replies["/model/1"] = Reply(ARCHIVE, length=1 << 50)
    with pytest.raises(CacheError, match=r"is full.*room for"):
        resolve(f"{host.url}/model/1")
    assert names(cache) == []


@pytest.fixture
def in_a_read_only_cache(cache):
    """Runs children that may read the cache and not write it: by a mount for root, whom modes do not stop."""
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = f'mount --bind {cache} {cache} && mount -o remount,bind,ro {cache} && exec "$@"'
    cache.mkdir()

    def run(handle):
        if os.getuid() == 0:
            if subprocess.run([*mount, script, "sh", "true"], capture_output=True, check=False).returncode:
                pytest.skip("root can write everywhere, and this system makes no read-only mounts")
            return in_a_child(handle, prefix=[*mount, script, "sh"])
        for path in [cache, *cache.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        return in_a_child(handle)

    yield run
    for path in [cache, *cache.rglob("*")]:
        path.chmod(0o755)


def test_read_only_cache_works(host, in_a_read_only_cache):
    """What is there is used; what is not there says why it cannot come."""
    host.replies["/model/1"] = host.replies["/model/2"] = ARCHIVE
    kept = resolve(f"{host.url}/model/1")
    found = in_a_read_only_cache(f"{host.url}/model/1")
    assert (found.returncode, found.stdout.strip()) == (0, kept), found.stderr
    missing = in_a_read_only_cache(f"{host.url}/model/2")
    assert "CacheError: Cannot write to the cache directory" in missing.stderr
    assert "TFHUB_CACHE_DIR" in missing.stderr


def test_cache_directory_that_is_a_file(host, tmp_path, monkeypatch):
    """Is a clear error."""
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file"))
    host.replies["/model/1"] = ARCHIVE
    with pytest.raises(CacheError, match="Cannot write to the cache directory"):
        resolve(f"{host.url}/model/1")


def test_links_in_the_place_of_our_files_are_never_followed(host, cache, tmp_path):
    """Whoever may write into a shared cache must not have us write elsewhere: lock, descriptor and pin."""
    host.replies["/model/1"] = ARCHIVE
    entry = CacheEntry.of(cache, f"{host.url}/model/1")
    cache.mkdir()
    places = [entry.lock, entry.descriptor, entry.pin, CacheEntry.of(cache, "another").lock]
    for place in places:
        victim = tmp_path / f"victim{place.suffix}"
        victim.write_text("0" * 64)
        os.utime(victim, (1, 1))
        place.symlink_to(victim)
    entry.pin.unlink()
    value = hashlib.sha256(ARCHIVE).hexdigest()
    pin(f"{host.url}/model/1", value)
    entry.pin.unlink()
    (tmp_path / "victim.pin").write_text(value)
    os.utime(tmp_path / "victim.pin", (1, 1))
    entry.pin.symlink_to(tmp_path / "victim.pin")
    for _ in range(2):
        assert contents(resolve(f"{host.url}/model/1")) == MODULE
    for victim in tmp_path.glob("victim.*"):
        assert victim.read_text() == (value if victim.suffix == ".pin" else "0" * 64)
        assert victim.stat().st_mtime == 1
    assert not entry.descriptor.is_symlink()
    assert not entry.pin.is_symlink()


def test_link_to_nothing_in_the_place_of_a_lock_makes_no_file(host, cache, tmp_path):
    """A lock is made where its name stands or not at all."""
    host.replies["/model/1"] = ARCHIVE
    cache.mkdir()
    CacheEntry.of(cache, f"{host.url}/model/1").lock.symlink_to(tmp_path / "made")
    assert contents(resolve(f"{host.url}/model/1")) == MODULE
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("what", ["saved_model.pb", "variables", "assets/3", "all files"])
def test_files_that_a_cleaner_removed_are_found_out_and_fetched_again(host, cache, monkeypatch, what):
    """Or refused by name when offline."""
    host.replies["/model/1"] = ARCHIVE
    handle = f"{host.url}/model/1"
    directory = Path(resolve(handle))
    if what == "all files":
        for path in directory.rglob("*"):
            path.is_file() and path.unlink()
    elif what == "variables":
        shutil.rmtree(directory / what)
        (directory / what).mkdir()
    else:
        (directory / what).unlink()
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    with pytest.raises(OSError, match=r"not there any more|neither saved_model"):
        resolve(handle)
    monkeypatch.delenv("HUBKERAS_OFFLINE")
    assert resolve(handle) == str(directory)
    assert contents(directory) == MODULE
    assert names(cache) == [directory.name, f"{directory.name}.descriptor.txt"]


@pytest.mark.parametrize(
    "missing", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001", "variables"]
)
def test_incomplete_entries_of_tensorflow_hub_are_fetched_again(host, cache, missing):
    """They have no marker, but a graph that reads variables."""
    host.replies["/model/1"] = ARCHIVE
    handle = f"{host.url}/model/1"
    directory = make_module(CacheEntry.of(cache, handle).directory)
    for path in [directory / missing, *(directory / missing).glob("*")]:
        path.is_file() and path.unlink()
    assert contents(resolve(handle)) == MODULE


def test_module_without_variables_is_complete(cache, monkeypatch):
    """Also with the empty folders that some tools make."""
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    handle = "https://modules.example/m/1"
    directory = make_module(CacheEntry.of(cache, handle).directory, {"saved_model.pb": b"no variables"})
    for name in ("variables", "assets"):
        (directory / name).mkdir()
    assert resolve(handle) == str(directory)
    assert [module.problem for module in cached_modules()] == [""]
