"""What the pages say is there."""

import re
from pathlib import Path

import pytest

import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "warpdrive_agent/README.md")
PLACE = re.compile(r"(?:storage|lake|pipelines|dashboard|commands|tests|bench|deploy)/[\w./-]+\w")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page):
    """A path below one of the rooms is a file or a folder of the project."""
    named = set(PLACE.findall((ROOT / page).read_text(encoding="utf-8")))
    assert not {place for place in named if not (ROOT / place).exists()}


def test_every_command_is_in_the_changelog():
    """Users learn of each command there is."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    names = {name for names in cli.MODULES.values() for name in names}
    assert not {name for name in names if f"`{name}`" not in text}


def test_readme_has_the_two_commands():
    """Exactly these two get a new user going, and both are targets."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split("## Two commands", 1)[1].split("```", 2)[1]
    assert re.findall(r"^make \w+", block, re.MULTILINE) == ["make demo", "make test"]
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^(demo|test): setup", targets, re.MULTILINE) == ["demo", "test"]
