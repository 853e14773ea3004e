"""What each page works out, run without a browser: filters, cards, forms, who may what."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import viewer
from lake.scope import Scope

ROOT = Path(__file__).parents[2]
TITLES = {
    "overview": "Overview", "backend": "Backend", "stale": "Stale", "user": "User",
    "quotas": "Quotas", "ingest": "Ingest", "ownership": "Ownership",
}  # fmt: skip


@pytest.fixture
def page(monkeypatch, published):
    """A page of the published lake, run once with the query of a link."""

    def run(name: str, **query: str) -> AppTest:
        monkeypatch.setenv("WARPDRIVE_CONFIG", str(published))
        app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
        return app if name == "overview" else app.switch_page(f"app_pages/{name}.py").run()

    return run


def cards(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html"))


@pytest.mark.parametrize("name", list(TITLES))
def test_every_page_runs_to_its_end(page, name):
    app = page(name)
    assert not app.exception
    assert not app.error
    assert [title.value for title in app.title] == [TITLES[name]]


def test_the_stale_page_filters(page):
    app = page("stale")
    app.number_input(key="days").set_value(10).run()
    assert "1,701,234 bytes" in cards(app)
    app.text_input(key="min_size").set_value("300KB").run()
    assert "1,200,000 bytes" in cards(app)
    app.text_input(key="owner").set_value("carol").run()
    assert "500,000 bytes" in cards(app)
    app.text_input(key="min_size").set_value("12 potato").run()
    assert [error.value for error in app.error]
    assert app.button(key="mark-selected").disabled


def test_an_unknown_backend_in_a_link_is_told(page):
    app = page("overview", backend="nowhere")
    assert not app.exception
    assert any("nowhere" in warning.value for warning in app.warning)


def test_a_quota_without_a_team_or_with_a_bad_size_is_one_line(page):
    app = page("quotas")
    soft = next(field for field in app.text_input if field.label == "Soft limit")
    soft.set_value("12 potato")
    next(button for button in app.button if button.label == "Save").click().run()
    assert not app.exception
    assert len(app.error) == 1
    assert "12 potato" in app.error[0].value


def test_a_rule_needs_a_team_before_its_preview(page):
    app = page("ownership")
    preview = next(button for button in app.button if button.label.startswith("Preview"))
    assert preview.disabled


def test_a_reader_changes_nothing(page, monkeypatch):
    """Buttons that a role does not have are not there."""
    current = viewer.current

    def reader() -> viewer.Viewer:
        return viewer.Viewer(current().config, Scope("ann", "reader"))

    monkeypatch.setattr(viewer, "current", reader)
    for name, told in (("quotas", "admin"), ("ownership", "admin"), ("stale", "operator")):
        app = page(name)
        assert not app.exception
        labels = " ".join(button.label for button in app.button)
        assert not any(word in labels for word in ("Save", "Mark ", "Preview", "Delete"))
        assert any(told in caption.value for caption in app.caption)
