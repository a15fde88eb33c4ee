"""The site of the documentation as it is built: strictly, by itself, and with links that lead somewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


ROOT = Path(__file__).resolve().parents[2]
# What a browser fetches without being asked.
LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
LINKS_TO_READ = {"alternate", "author", "canonical", "license", "next", "prev"}
# Of the scripts of the theme: comments, and what is fetched for diagrams, for the numbers of a repository and for old browsers.
HOSTS_OF_THE_THEME = {"api.github.com", "bit.ly", "clipboardjs.com", "lunrjs.com", "tartarus.org", "unpkg.com"}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="mkdocs is not installed: pip install -e '.[docs]'",
)


class Page(HTMLParser):
    """What a page loads, where it links to, and which anchors and classes it has."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.links, self.anchors, self.classes, self.styles = [], [], set(), set(), []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        self.classes |= {*given.get("class", "").split()}
        self.styles.append(given.get("style", ""))
        self._in_style = tag == "style"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and not LINKS_TO_READ & {*given.get("rel", "").split()}:
            self.loads.append(given.get("href", ""))
        for name in LOADED.get(tag, ()):
            if given.get(name):
                # A set of sources has sizes behind them.
                self.loads += (
                    [part.split()[0] for part in given[name].split(",")] if name == "srcset" else [given[name]]
                )

    def handle_data(self, data):
        if self._in_style:
            self.styles.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {page: Page(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}


def is_elsewhere(address):
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def addresses(style):
    """What a style sheet loads."""
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)", style) + re.findall(r"@import\s+['\"]([^'\"]+)", style)
    return [one for one in found if not one.startswith("#")]


def test_nothing_is_loaded_from_another_host(site, pages):
    for path, page in pages.items():
        loads = page.loads + [one for style in page.styles for one in addresses(style)]
        assert not [one for one in loads if is_elsewhere(one)], path.name
    sheets = list(site.rglob("*.css"))
    assert sheets
    for path in sheets:
        assert not [one for one in addresses(path.read_text(encoding="utf-8")) if is_elsewhere(one)], path.name


def test_scripts_ask_no_host_that_was_not_looked_at(site, pages):
    # The stemmers of other languages are not used; what is searched is text.
    used = [path for path in site.rglob("*.js") if not {"lunr", "search"} & {*path.relative_to(site).parts}]
    scripts = "".join(path.read_text(encoding="utf-8") for path in used)
    assert {urlsplit(one).netloc for one in re.findall(r"https?://[\w.-]+\.\w+", scripts)} <= HOSTS_OF_THE_THEME
    # What the theme would fetch for these.
    for path, page in pages.items():
        assert not page.classes & {"mermaid", "md-source"}, path.name


def test_what_is_loaded_is_there(site, pages):
    for path, page in pages.items():
        for one in page.loads:
            target = urlsplit(one)
            if target.path and target.scheme != "data":
                # The page of what was not found is shown below any address.
                folder = site if target.path.startswith("/") else path.parent
                assert (folder / unquote(target.path).lstrip("/")).is_file(), (path.name, one)


def test_links_lead_to_pages_and_anchors_of_the_site(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            folder = site if parts.path.startswith("/") else path.parent
            target = (folder / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            is_there = target.is_file() and (
                not anchor or target.suffix != ".html" or anchor in pages[target].anchors | {"__top"}
            )
            if not is_there:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_docstrings_are_read_as_markdown(site):
    text = (site / "api" / "functional.html").read_text(encoding="utf-8")
    assert 'id="mixtext_hf.functional.draw_plan"' in text
    assert "Args:" not in text
    assert "[<code>" not in text


def test_names_and_numbers_stay_whole_and_pictures_lead_to_their_files(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert '<code><span class="whole">mixtext-hf</span> <span class="whole">show-mixes</span>' in text
    assert '<a class="picture" href="methods.png"><img' in text
    assert re.search(r"<td>0\.\d+ ±\N{NO-BREAK SPACE}0\.\d+</td>", text)
    # Code to copy has no marks.
    assert 'class="whole"' not in "".join(re.findall(r"<pre.*?</pre>", text, re.DOTALL))


def test_signatures_show_what_default_factories_return(site):
    text = re.sub(r"<[^>]*>", "", (site / "api" / "evaluation.html").read_text(encoding="utf-8"))
    assert "skip: list[str] = []," in text
    assert "(lambda" not in text


def test_a_bar_in_code_is_no_border_on_the_pages_of_the_repository():
    for path in (ROOT / "docs").rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert not [row for row in rows for code in re.findall(r"`[^`]*`", row) if "|" in code], path.name
