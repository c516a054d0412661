"""The page: complete, closed against what strangers wrote, and working in a browser."""

import json
import re
import shutil
import subprocess

import pytest
from savedmodel.builder import meta_graph, node, placeholder, write_module

from hubkeras.cli.demo import MODULE
from hubkeras.inspection.describing import describe, read
from hubkeras.inspection.page import render_page

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


def page_of(path):
    return render_page(describe(path), read(path))


@pytest.fixture(scope="module")
def evil_page(tmp_path_factory):
    """The page of a module whose every name is markup."""
    path = tmp_path_factory.mktemp("evil") / "m"
    signatures = {EVIL: ({EVIL: "x:0"}, {EVIL: f"{EVIL}:0"})}
    graph = meta_graph([placeholder("x"), node(EVIL, "Identity", "x")], signatures=signatures)
    write_module(path, graph)
    return page_of(path)


def test_needs_nothing_else():
    """No address of anything outside, and a policy that would not let it be fetched."""
    page = page_of(MODULE)
    assert "default-src 'none'" in page
    without_data = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", without_data))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the name of a language, not a place"
    assert not re.search(r"<link|<img|<iframe|@import|url\(", without_data)


def test_markup_in_names_stays_data(evil_page):
    """Nothing of it stands in the page as it is."""
    assert "<img" not in evil_page
    assert evil_page.count("<script") == evil_page.count("</script>") == 2
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', evil_page, re.DOTALL)
    assert EVIL in json.loads(data[1])["variants"][0]["signatures"][0]["name"]


def browse(page, folder, size="1200,900"):
    """What the document is once a browser has run its scripts."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    (folder / "page.html").write_text(page)
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    flags += f" --disable-component-update --disable-sync --user-data-dir={folder / 'profile'} --window-size={size}"
    command = [browser, *flags.split(), "--virtual-time-budget=2000", "--dump-dom", f"file://{folder / 'page.html'}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_a_browser_shows_all_of_it(tmp_path):
    """Signatures, variables, a drawing with boxes that can be reached by keyboard."""
    page = page_of(MODULE)
    asks = "<script>window.onload=()=>0</script>"
    assert asks not in page
    document = browse(page, tmp_path)
    for text in ("topics_embedding", "TF1 Hub format", "hubkeras.load(", "embeddings", "vocabulary.txt", "HashTableV2"):
        assert text in document, text
    boxes = re.findall(r'<g class="box [^>]*>', document)
    assert len(boxes) > 3
    assert all('tabindex="0"' in box and "aria-label=" in box for box in boxes)
    assert 'aria-selected="true"' in document


def test_a_browser_runs_nothing_of_a_stranger(evil_page, tmp_path):
    """The names are shown as texts."""
    document = browse(evil_page, tmp_path)
    assert "<title>owned" not in document
    assert "&lt;img src=x" in document
    assert "<img" not in document
