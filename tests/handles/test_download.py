"""Downloads from a server that behaves, and from servers that do not."""

import base64
import email.utils
import gc
import hashlib
import json
import re
import time
from pathlib import Path

import pytest

from handles.hosts import Reply
from handles.samples import FILES, contents, make_tar, make_zip
from hubkeras.errors import ArchiveError, DownloadError, HubKerasError, OfflineError
from hubkeras.handles import http
from hubkeras.handles.cache_entries import CacheEntry
from hubkeras.handles.resolver import is_available, resolve

ARCHIVE = make_tar()
BIG = {**FILES, "variables/variables.data-00000-of-00001": hashlib.shake_256(b"w").digest(3_000_000)}
BIG_ARCHIVE = make_tar(BIG)


def test_module_of_a_hosting_server_is_fetched_once_and_offline_ever_after(host, cache, monkeypatch):
    """The query of the protocol is added, and a second call asks nobody."""
    host.replies["/model/1"] = ARCHIVE
    handle = f"{host.url}/model/1"
    assert not is_available(handle)
    directory = resolve(handle)
    assert contents(directory) == FILES
    assert Path(directory) == CacheEntry.of(cache, handle).directory
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    assert is_available(handle)
    assert resolve(handle) == directory
    assert [request.query for request in host.requests] == [{"tf-hub-format": ["compressed"]}]


def test_query_of_the_user_is_kept(host):
    """Blank values and escapes arrive as they were written."""
    host.replies["/model/1"] = ARCHIVE
    resolve(f"{host.url}/model/1?lang=en%20us&x=")
    assert host.requests[0].query == {"lang": ["en us"], "tf-hub-format": ["compressed"]}


@pytest.mark.parametrize("suffix", ["tar.gz", "tgz", "tar", "zip", "TAR.GZ"])
def test_address_of_an_archive_is_asked_as_it_stands(host, suffix):
    """A signed address would break with another query."""
    packed = {"zip": make_zip(), "tar": make_tar(packing="")}.get(suffix, ARCHIVE)
    host.replies[f"/m.{suffix}"] = packed
    assert contents(resolve(f"{host.url}/m.{suffix}?X-Goog-Signature=s")) == FILES
    assert host.requests[0].query == {"X-Goog-Signature": ["s"]}


@pytest.mark.parametrize("packing", ["", "gz"])
def test_every_packing_of_tar_is_recognised_by_its_bytes(host, packing):
    """The name says nothing about it."""
    host.replies["/model/1"] = make_tar(packing=packing)
    assert contents(resolve(f"{host.url}/model/1")) == FILES


@pytest.mark.parametrize("packing", ["bz2", "xz"])
def test_other_packings_of_tar_are_refused_by_name(host, packing):
    """And what is supported is named."""
    host.replies["/model/1"] = make_tar(packing=packing)
    with pytest.raises(ArchiveError, match=r"packed with (bzip2|xz).*packed with gzip\) or a zip.*tar -czf"):
        resolve(f"{host.url}/model/1")


def test_scheme_in_capitals(host):
    """`HTTP://` is http."""
    host.replies["/model/1"] = ARCHIVE
    assert contents(resolve(f"HTTP{host.url[4:]}/model/1")) == FILES


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_to_a_signed_address(host, status):
    """As Kaggle answers."""
    host.replies["/model/1"] = Reply(b"", status, {"Location": "/signed?X-Goog-Signature=secret"})
    host.replies["/signed"] = ARCHIVE
    assert contents(resolve(f"{host.url}/model/1")) == FILES


def test_redirect_loop_ends(host):
    """Ten redirects are enough."""
    host.replies["/model/1"] = Reply(b"", 302, {"Location": "/model/1"})
    with pytest.raises(DownloadError, match="redirects more than 10 times"):
        resolve(f"{host.url}/model/1")


def test_redirect_from_https_to_http_is_refused(host, internet):
    """What was to be encrypted stays so."""
    host.replies["/m.tar.gz"] = ARCHIVE
    internet.replies["https://modules.example/m.tar.gz"] = Reply(b"", 302, {"Location": f"{host.url}/m.tar.gz?key=k"})
    with pytest.raises(DownloadError, match="from https to http") as caught:
        resolve("https://modules.example/m.tar.gz")
    assert "key=k" not in str(caught.value)
    assert not host.requests


def test_page_instead_of_an_archive_is_shown(host, cache):
    """Status, content type and first bytes are in the message, and nothing stays."""
    host.replies["/model/1"] = Reply(b"<html>Please log in", 200, {"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(DownloadError) as caught:
        resolve(f"{host.url}/model/1")
    for part in ("status 200", "text/html", "<html>Please log in", "does not appear to be a valid module"):
        assert part in str(caught.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refusal_is_shown_and_not_repeated(host, status):
    """A refusal is final."""
    host.replies["/model/1"] = Reply(b"<Error>AccessDenied</Error>", status, {"Content-Type": "application/xml"})
    with pytest.raises(DownloadError, match=rf"status {status}.*application/xml.*AccessDenied"):
        resolve(f"{host.url}/model/1")
    assert len(host.requests) == 1


def test_expired_signed_address_is_asked_anew(host):
    """A 403 behind a redirect may be gone with a new signature."""
    host.replies["/model/1"] = Reply(b"", 302, {"Location": "/signed?X-Goog-Signature=secret"})
    host.replies["/signed"] = [Reply(b"<Code>SignatureDoesNotMatch</Code>", 403), ARCHIVE]
    assert contents(resolve(f"{host.url}/model/1")) == FILES


def test_signatures_and_passwords_stay_out_of_messages_and_files(host, cache):
    """What may be shown is scheme, host and path."""
    host.replies["/model/1"] = Reply(b"", 302, {"Location": "/signed?X-Goog-Signature=secret1"})
    host.replies["/signed"] = Reply(b"no", 403)
    handle = f"http://me:secret2@127.0.0.1:{host.port}/model/1?token=secret3"
    with pytest.raises(DownloadError) as caught:
        resolve(handle)
    error = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__
    host.replies["/signed"] = ARCHIVE
    directory = Path(resolve(handle))
    for path in (directory / ".hubkeras.json", CacheEntry.of(cache, handle).descriptor):
        assert "secret" not in path.read_text()


def test_credentials_go_to_their_own_host_alone(host, internet):
    """Not even a redirect takes them along."""
    internet.replies["https://modules.example/m.tar.gz"] = Reply(b"", 302, {"Location": "https://tfhub.dev/x.tar.gz"})
    internet.replies["https://tfhub.dev/x.tar.gz"] = ARCHIVE
    resolve("https://me:secret@modules.example/m.tar.gz")
    basic = "Basic " + base64.b64encode(b"me:secret").decode()
    assert internet.requests[0].headers["Authorization"] == basic
    assert "Authorization" not in internet.requests[1].headers


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_servers_are_asked_again(host, status):
    """Twice in vain, then there is the module."""
    host.replies["/model/1"] = [Reply(b"", status), Reply(b"", status), ARCHIVE]
    assert contents(resolve(f"{host.url}/model/1")) == FILES


def test_attempts_end(host, monkeypatch):
    """As many as HUBKERAS_RETRIES says."""
    monkeypatch.setenv("HUBKERAS_RETRIES", "3")
    host.replies["/model/1"] = Reply(b"", 503)
    with pytest.raises(DownloadError, match=r"status 503.*after 4 attempts"):
        resolve(f"{host.url}/model/1")
    assert len(host.requests) == 4


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(host, form):
    """In both of its forms."""
    value = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
    host.replies["/model/1"] = [Reply(b"", 429, {"Retry-After": value}), ARCHIVE]
    start = time.monotonic()
    resolve(f"{host.url}/model/1")
    assert time.monotonic() - start > 0.9


def test_server_that_wants_too_long_a_pause_is_left_alone(host):
    """The message says how long."""
    host.replies["/model/1"] = Reply(b"", 429, {"Retry-After": "3600"})
    with pytest.raises(DownloadError, match="the server asks for 3600 seconds"):
        resolve(f"{host.url}/model/1")


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_connection_is_resumed(host, ranges):
    """By Range where the server knows it, else from the start; the bytes are the same."""
    tag = {"ETag": '"v1"'}
    cut = Reply(BIG_ARCHIVE, headers=tag, cut=2_000_000, ranges=ranges)
    host.replies["/model/1"] = [cut, Reply(BIG_ARCHIVE, headers=tag, ranges=ranges)]
    assert contents(resolve(f"{host.url}/model/1")) == BIG
    begin = int(host.requests[1].headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 1_000_000 < begin <= 2_000_000
    assert host.requests[1].headers["If-Range"] == '"v1"'


@pytest.mark.parametrize("ranges", [True, False])
def test_body_in_chunks_is_resumed(host, ranges):
    """Its length is not known before."""
    cut = Reply(BIG_ARCHIVE, cut=2_000_000, chunked=True)
    host.replies["/model/1"] = [cut, Reply(BIG_ARCHIVE, chunked=True, ranges=ranges)]
    assert contents(resolve(f"{host.url}/model/1")) == BIG
    assert len(host.requests) == 2


def test_many_breaks_are_survived_while_there_is_progress(host, monkeypatch):
    """Only attempts without progress count."""
    monkeypatch.setenv("HUBKERAS_RETRIES", "1")
    archive = make_tar({**FILES, "assets/noise": hashlib.shake_256(b"n").digest(8_000_000)})

    def cut(request):
        begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
        return Reply(archive, cut=begin + 2_500_000)

    host.replies["/model/1"] = cut
    resolve(f"{host.url}/model/1")
    assert len(host.requests) == 4


def test_body_that_always_breaks_off_is_an_error(host, cache, monkeypatch):
    """Nothing of it stays in the cache."""
    monkeypatch.setenv("HUBKERAS_RETRIES", "2")
    host.replies["/model/1"] = Reply(ARCHIVE, length=len(ARCHIVE) + 100, ranges=False)
    with pytest.raises(DownloadError, match="after 3 attempts"):
        resolve(f"{host.url}/model/1")
    assert list(cache.iterdir()) == []


def test_claimed_length_that_is_too_short_is_an_error(host):
    """The archive ends too early."""
    host.replies["/model/1"] = Reply(ARCHIVE, length=len(ARCHIVE) - 100)
    with pytest.raises(ArchiveError, match="ends too early"):
        resolve(f"{host.url}/model/1")


@pytest.mark.parametrize("packing", ["", "gz"])
def test_body_without_a_length_that_is_cut_is_an_error(host, packing):
    """Also a plain tar that is cut between two members."""
    archive = make_tar(packing=packing)
    end = len(archive) // 2 if packing else archive.index(b"variables/variables.index\0" + bytes(20))
    host.replies["/model/1"] = Reply(archive[:end], length=-1)
    with pytest.raises(ArchiveError, match="ends too early"):
        resolve(f"{host.url}/model/1")


def test_file_that_changes_during_the_download_is_fetched_anew(host):
    """Halves of two files never become one module."""
    other = make_tar({**BIG, "assets/words.txt": b"other"}, packing="")
    first = Reply(make_tar(BIG, packing=""), headers={"ETag": '"v1"'}, cut=1_500_000)
    host.replies["/model/1"] = [first, Reply(other, headers={"ETag": '"v2"'}, ranges=False)]
    assert contents(resolve(f"{host.url}/model/1")) == {**BIG, "assets/words.txt": b"other"}


def test_silent_server_is_given_up(host, monkeypatch):
    """After the timeout, and with the attempts told."""
    monkeypatch.setenv("HUBKERAS_TIMEOUT", "0.3")
    monkeypatch.setenv("HUBKERAS_RETRIES", "1")
    host.replies["/model/1"] = Reply(ARCHIVE, pause=2)
    with pytest.raises(DownloadError, match="after 2 attempts"):
        resolve(f"{host.url}/model/1")


def test_slow_body_is_waited_for(host, monkeypatch):
    """A timeout is for silence, not for the whole."""
    monkeypatch.setenv("HUBKERAS_TIMEOUT", "1")
    host.replies["/model/1"] = Reply(ARCHIVE, pause=0.3, piece=len(ARCHIVE) // 5)
    assert contents(resolve(f"{host.url}/model/1")) == FILES


def test_body_that_trickles_is_resumed(host, monkeypatch):
    """A byte now and then is not silence, but it would take for ever."""
    monkeypatch.setattr(http, "_RATE_WINDOW", 0.5)
    host.replies["/model/1"] = [Reply(ARCHIVE, pause=0.1, piece=1), ARCHIVE]
    assert contents(resolve(f"{host.url}/model/1")) == FILES
    assert 0 < int(host.requests[1].headers["Range"].removeprefix("bytes=").removesuffix("-")) < 50


def test_server_that_always_trickles_is_given_up(host, monkeypatch):
    """The error names the rate and the setting, which also lets it be."""
    monkeypatch.setattr(http, "_RATE_WINDOW", 0.3)
    monkeypatch.setenv("HUBKERAS_RETRIES", "1")
    host.replies["/model/1"] = Reply(ARCHIVE, pause=0.05, piece=8)
    with pytest.raises(DownloadError, match=r"bytes per second, and HUBKERAS_MIN_RATE is 1024, after 2 attempts"):
        resolve(f"{host.url}/model/1")
    monkeypatch.setenv("HUBKERAS_MIN_RATE", "10")
    host.replies["/model/1"] = Reply(ARCHIVE, pause=0.05, piece=len(ARCHIVE) // 20)
    assert contents(resolve(f"{host.url}/model/1")) == FILES


def test_time_that_unpacking_takes_is_not_the_servers(host, monkeypatch):
    monkeypatch.setattr(http, "_RATE_WINDOW", 0.2)
    host.replies["/x"] = Reply(b"x" * 30, piece=10)
    with http.open_session() as session, http.get(session, f"{host.url}/x") as response:
        body, found = http.Body(response), b""
        while piece := body.read(10):
            time.sleep(0.15)
            found += piece
    assert found == b"x" * 30


def test_server_that_is_not_there(host):
    """The message names the host and the reason."""
    host.close()
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1.*[Rr]efused"):
        resolve(f"{host.url}/model/1")


def md5(body):
    return {"x-goog-hash": "crc32c=n03x6A==,md5=" + base64.b64encode(hashlib.md5(body).digest()).decode()}


def sha256(body):
    return {"Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"}


@pytest.mark.parametrize("digest", [md5, sha256])
def test_digests_of_the_server_are_checked(host, cache, digest):
    """A good archive with another digest is not the one that the server keeps."""
    host.replies["/model/1"] = Reply(ARCHIVE, headers=digest(ARCHIVE))
    host.replies["/model/2"] = Reply(ARCHIVE, headers=digest(b"other"))
    assert contents(resolve(f"{host.url}/model/1")) == FILES
    with pytest.raises(DownloadError, match=f"damaged.*{digest.__name__}"):
        resolve(f"{host.url}/model/2")
    assert not CacheEntry.of(cache, f"{host.url}/model/2").directory.exists()


@pytest.mark.parametrize("header", ["md5=!!!", "md5", ",,=", "crc32c=AAAAAA=="])
def test_digest_that_is_none_is_passed_over(host, header):
    """A header nobody understands promises nothing."""
    host.replies["/model/1"] = Reply(ARCHIVE, headers={"x-goog-hash": header})
    assert contents(resolve(f"{host.url}/model/1")) == FILES


def test_proxy_of_the_environment_is_used(host, monkeypatch):
    """It sees the whole address."""
    monkeypatch.setenv("HTTP_PROXY", host.url)
    host.replies["http://modules.example/m.tar.gz"] = ARCHIVE
    assert contents(resolve("http://modules.example/m.tar.gz")) == FILES


def test_unknown_authority_is_refused_unless_it_is_named_or_switched_off(internet, monkeypatch):
    """The message tells of REQUESTS_CA_BUNDLE."""
    internet.replies["https://modules.example/m.tar.gz"] = ARCHIVE
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(DownloadError, match="REQUESTS_CA_BUNDLE"):
        resolve("https://modules.example/m.tar.gz")
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    with pytest.warns(match="Unverified HTTPS request"):
        assert contents(resolve("https://modules.example/m.tar.gz")) == FILES


def test_offline_names_what_is_missing(host, cache, monkeypatch):
    """The folder to fill is in the message, and nobody is asked."""
    monkeypatch.setenv("HUBKERAS_OFFLINE", "1")
    handle = f"{host.url}/model/1"
    with pytest.raises(OfflineError, match=CacheEntry.of(cache, handle).name):
        resolve(handle)
    assert not host.requests


def test_module_in_one_folder_of_its_archive(host):
    """Is found there."""
    host.replies["/model/1"] = make_tar(prefix="nnlm/")
    assert contents(resolve(f"{host.url}/model/1")) == FILES


def test_archive_without_a_module_is_refused(host):
    """Its files are named."""
    host.replies["/model/1"] = make_tar({"model.tflite": b"x", "labels.txt": b"y"})
    with pytest.raises(ArchiveError, match=r"holds no module.*labels\.txt, model\.tflite"):
        resolve(f"{host.url}/model/1")


def test_marker_lists_every_file(host):
    """With its size and sha256."""
    host.replies["/model/1"] = ARCHIVE
    marker = json.loads(Path(resolve(f"{host.url}/model/1"), ".hubkeras.json").read_text())
    expected = {name: {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()} for name, body in FILES.items()}
    assert marker["files"] == expected
    assert marker["archive_sha256"] == hashlib.sha256(ARCHIVE).hexdigest()


DIGITS = [
    "-1",
    "-5000",
    "²",
    "1²",
    "٣".encode().decode("latin-1"),
    "0x10",
    "1e3",
    "+5",
    "5, 6",
    "",
    " ",
    "9" * 30,
    "9" * 6000,
]


def outcome(handle):
    """A whole module or an error of the library; anything else ends the test."""
    try:
        assert contents(resolve(handle)) in (FILES, BIG)
    except HubKerasError as error:
        return error
    return None


@pytest.mark.parametrize("value", [*DIGITS, str(len(ARCHIVE)) + ", " + str(len(ARCHIVE)), str(len(ARCHIVE) - 1)])
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_odd_content_length(host, value):
    """Counts as none, or is refused by name. (urllib3 leaves a socket open where there are several that differ.)"""
    host.replies["/model/1"] = Reply(ARCHIVE, headers={"Content-Length": value})
    outcome(f"{host.url}/model/1")
    gc.collect()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes */5",
        "items 0-5/5",
        "bytes 0-5/5, bytes 6-9/20",
        *(f"bytes {digits}-9/9" for digits in DIGITS),
    ]
    + [f"bytes {{begin}}-{digits}/{digits}" for digits in DIGITS],
)
def test_odd_content_range(host, value):
    """The file is asked for anew from its beginning, and comes whole."""

    def answer(request):
        begin = re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if begin is None:
            cut = 2_000_000 if len(host.requests) == 1 else None
            return Reply(BIG_ARCHIVE, cut=cut, headers={"ETag": '"v1"'})
        headers = {"Content-Range": value.format(begin=begin[1])}
        return Reply(BIG_ARCHIVE[int(begin[1]) :], 206, headers, length=-1)

    host.replies["/model/1"] = answer
    error = outcome(f"{host.url}/model/1")
    assert error is None or "changed during its download" in str(error)


def test_odd_retry_after(host):
    """Means no more than none does."""
    dates = [
        "Fri, 31 Dec 20000 23:59:59 GMT",
        "Sat, 01 Jan 0000 00:00:00 GMT",
        "1 Jan 2024 00:00:00 +99999999999999",
        "soon",
    ]
    for number, value in enumerate([*DIGITS, *dates]):
        host.replies[f"/{number}/1"] = [Reply(b"", 503, {"Retry-After": value}), ARCHIVE]
        error = outcome(f"{host.url}/{number}/1")
        assert error is None or "the server asks for" in str(error), value


@pytest.mark.parametrize(
    "value", ["http://[::1", "http://host:99999/", "//", "gs://bucket", "http://", "\x80\xff", "?", "x" * 9000]
)
def test_odd_redirect(host, value):
    """Ends in an error of the library."""
    host.replies["/model/1"] = Reply(b"", 302, {"Location": value})
    assert isinstance(outcome(f"{host.url}/model/1"), DownloadError)


def test_body_of_a_refusal_or_redirect_is_not_read(host):
    """It may be long, and slow."""
    long_redirect = Reply(bytes(1 << 20), 302, {"Location": "/model/2"}, pause=0.3)
    host.replies["/model/1"] = [Reply(bytes(1 << 20), 503, pause=0.3), long_redirect]
    host.replies["/model/2"] = ARCHIVE
    start = time.monotonic()
    resolve(f"{host.url}/model/1")
    assert time.monotonic() - start < 3


def test_every_error_is_a_hubkeras_error_and_an_os_error(host):
    """So that code for tensorflow_hub catches it."""
    with pytest.raises(HubKerasError) as caught:
        resolve(f"{host.url}/nothing")
    assert isinstance(caught.value, OSError)
