"""The page as people use it: by mouse, wheel, keyboard and fingers, in the dark, and on a phone."""

import pytest
from parity import GOLDEN

from hubkeras.inspection.describing import describe, read
from hubkeras.inspection.page import render_page
from inspection.browser import Browser, find_chromium

MODULE = GOLDEN / "modules" / "batch_renorm"
"""It has two graph variants, and scopes in its graph."""
PHONE = {"width": 360, "height": 740, "phone": True}
SVG = "document.querySelector('.drawing svg')"
ACTIVE = "document.activeElement"
PATH = "document.querySelector('.drawing .path').textContent"
BUTTONS = {name: f".drawing .tools button:nth-child({i})" for i, name in enumerate(("up", "out", "in", "fit"), 1)}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render_page(describe(MODULE), read(MODULE)))
    return path


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed")
    with Browser(program, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def browser(opened):
    """A browser, which has nothing to complain of in the end."""
    opened.problems.clear()
    yield opened
    assert not opened.problems


def view(browser):
    """The part of the drawing that is shown: x, y, width, height."""
    return [float(number) for number in browser.run(f"{SVG}.getAttribute('viewBox')").split()]


def test_buttons_zoom(browser, file):
    browser.open(file)
    start = view(browser)
    browser.click(BUTTONS["in"])
    assert view(browser)[2] == pytest.approx(start[2] / 1.3)
    browser.click(BUTTONS["out"])
    browser.click(BUTTONS["out"])
    assert view(browser)[2] == pytest.approx(start[2] * 1.3)
    browser.click(BUTTONS["fit"])
    assert view(browser)[2] < start[2] * 1.3


def test_keys_move_and_zoom(browser, file):
    browser.open(file)
    browser.run(f"{SVG}.focus()")
    browser.press("0")
    whole = view(browser)
    browser.press("+")
    assert view(browser)[2] == pytest.approx(whole[2] / 1.3)
    browser.press("-")
    assert view(browser) == pytest.approx(whole)
    browser.press("ArrowRight", "ArrowDown")
    assert view(browser)[:2] == pytest.approx([whole[0] + whole[2] / 12, whole[1] + whole[2] / 12])
    browser.press("ArrowLeft", "ArrowUp", "ArrowUp")
    assert view(browser)[1] == pytest.approx(whole[1] - whole[2] / 12)
    browser.press("0")
    assert view(browser) == whole


def test_keys_open_scopes(browser, file):
    """Enter opens the scope that has the focus, Backspace and Escape go up; the focus stays in the drawing."""
    browser.open(file)
    for key in ("Backspace", "Escape"):
        browser.run("document.querySelector('.box.scope').focus()")
        name = browser.run(f"{ACTIVE}.getAttribute('aria-label')").partition(",")[0]
        browser.press("Enter")
        assert browser.run(PATH) == f"graph{name}"
        assert browser.run(f"{ACTIVE} === {SVG}")
        browser.press(key)
        assert browser.run(PATH) == "graph"


def test_a_click_opens_a_scope_and_a_drag_does_not(browser, file):
    browser.open(file)
    x, y = browser.middle(".box.scope")
    before = view(browser)
    for kind, moved in (("mousePressed", 0), ("mouseMoved", 30), ("mouseReleased", 30)):
        browser.send("Input.dispatchMouseEvent", type=kind, x=x + moved, y=y, button="left", buttons=1, clickCount=1)
    assert view(browser)[0] < before[0]
    assert browser.run(PATH) == "graph"
    browser.click(".box.scope")
    assert browser.run(PATH) != "graph"


def test_the_wheel_zooms_where_the_mouse_is_once_the_drawing_has_the_focus(browser, file):
    """Until then it scrolls the page; with Ctrl, which is what a touchpad makes of a pinch, it zooms."""
    browser.open(file)
    place = f"new DOMPoint(%f, %f).matrixTransform({SVG}.getScreenCTM().inverse()).x"
    x, y = browser.middle(".drawing svg")
    start = view(browser)
    browser.wheel(x, y, -120)
    assert view(browser) == start
    x, y = map(round, browser.middle(".drawing svg"))
    browser.wheel(x + 90, y, -120, control=True)
    assert view(browser)[2] == pytest.approx(start[2] / 1.15)
    browser.run(f"{SVG}.focus()")
    under = browser.run(place % (x + 90, y))
    browser.wheel(x + 90, y, -120)
    assert view(browser)[2] == pytest.approx(start[2] / 1.15**2)
    assert browser.run(place % (x + 90, y)) == pytest.approx(under)


def test_tab_goes_through_all_that_can_be_used_from_top_to_bottom(browser, file):
    browser.open(file)
    label = f"({ACTIVE}.getAttribute('aria-label') || {ACTIVE}.textContent)"
    browser.press("Tab")
    assert browser.run(label) == "Skip to the content"
    assert browser.run(f"{ACTIVE}.getBoundingClientRect().x") >= 0, "it is seen where it has the focus"
    order = []
    while len(order) < 99 and browser.run(f"{ACTIVE} !== document.body"):
        order.append(browser.run(label))
        is_box = browser.run(f"{ACTIVE}.matches('.box')")  # which has a thick line of its own
        assert is_box or browser.run(f"getComputedStyle({ACTIVE}).outlineStyle") == "solid", order[-1]
        browser.press("Tab")
    wanted = ["Skip to the content", "Use it", "Call it", "Copy", "Zoom out", "Zoom in", "Show all"]
    wanted.append("Drawing of the graph")
    assert [name for name in order if name in wanted] == wanted
    assert any(name.endswith(", open") for name in order[order.index("Drawing of the graph") :])


def test_arrow_keys_choose_a_program(browser, file):
    browser.open(file)
    text = "document.querySelector('.program pre').textContent"
    first = browser.run(text)
    browser.run("document.querySelector('[role=tab]').focus()")
    browser.press("ArrowRight")
    assert browser.run(text) not in ("", first)
    assert browser.run(f"{ACTIVE}.getAttribute('aria-selected')") == "true"
    browser.press("ArrowLeft")
    assert browser.run(text) == first


def test_a_variant_has_its_own_drawing(browser, file):
    browser.open(file)
    told = "document.querySelector('.drawing .told').textContent"
    first = browser.run(told)
    browser.click("#graph .tabs button[aria-pressed=false]")
    assert browser.run(told) != first


def brightness(browser, selector, what):
    """Of a colour, from 0 to 255."""
    style = browser.run(f"getComputedStyle(document.querySelector('{selector}')).{what}")
    return sum(map(int, style[style.index("(") + 1 : -1].split(",")[:3])) / 3


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(browser, file, dark):
    """Letters stand out from their ground, in the text and in the drawing."""
    browser.open(file, dark=dark)
    for letters, ground, fill in (("body", "body", "color"), (".box.scope text", ".box.scope rect", "fill")):
        back = brightness(browser, ground, "backgroundColor" if fill == "color" else "fill")
        front = brightness(browser, letters, fill)
        assert (front > back) == dark
        assert abs(front - back) > 150


def test_a_phone_has_no_need_to_scroll_sideways(browser, file):
    """The page is as wide as the screen, and what the drawing says can be read and touched."""
    browser.open(file, **PHONE)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    size = "(e => e.getBoundingClientRect())(document.querySelector('%s'))"
    assert browser.run(size % ".box rect" + ".height") >= 36
    for selector in BUTTONS.values():
        assert browser.run(size % selector + ".height") >= 35
    rows = "new Set([...document.querySelectorAll('.drawing .tools button')].map((e) => e.offsetTop)).size"
    assert browser.run(rows) == 1


def test_fingers(browser, file):
    """Two zoom; one moves the page until the drawing was tapped, and the drawing then."""
    browser.open(file, **PHONE)
    x, y = browser.middle(".drawing svg")
    start = view(browser)
    browser.touch(*([(x - d, y + 150), (x + d, y + 150)] for d in (20, 40)))
    assert view(browser)[2] == pytest.approx(start[2] / 2, rel=0.1)
    browser.touch([(x + 100, y + 150)])
    assert browser.run(f"{ACTIVE} === {SVG}")
    before, scrolled = view(browser), browser.run("scrollY")
    browser.touch(*([(x + d, y + d)] for d in (0, 20, 60)))
    assert view(browser)[0] < before[0]
    assert view(browser)[1] < before[1]
    assert browser.run("scrollY") == scrolled
