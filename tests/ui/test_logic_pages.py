"""What each page works out, run without a browser: filters, cards, forms, who may what."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import viewer
from lake import control, marks, published
from lake.schemas import AUDIT_LOG
from lake.scope import Scope
from lake.store import Lake

ROOT = Path(__file__).parents[2]
TITLES = {
    "overview": "Overview", "backend": "Backend", "stale": "Stale", "user": "User",
    "quotas": "Quotas", "ingest": "Ingest", "ownership": "Ownership",
}  # fmt: skip


def opened(config: Path, name: str, **query: str) -> AppTest:
    """A page of a lake, run once with the query of a link."""
    app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    return app if name == "overview" else app.switch_page(f"app_pages/{name}.py").run()


@pytest.fixture
def page(monkeypatch, published) -> Callable[..., AppTest]:
    """A page of the published lake."""
    monkeypatch.setenv("WARPDRIVE_CONFIG", str(published))
    return lambda name, **query: opened(published, name, **query)


@pytest.fixture
def mine(monkeypatch, published, tmp_path) -> Path:
    """A copy of the published lake that a test changes: the config."""
    shutil.copytree(published.parent / "lake", tmp_path / "lake")
    config = Path(shutil.copy(published, tmp_path))
    monkeypatch.setenv("WARPDRIVE_CONFIG", str(config))
    return config


def lake_of(config: Path) -> Lake:
    return Lake(str(config.parent / "lake"))


def logged(config: Path) -> list[str]:
    """What was done, in order."""
    return lake_of(config).scan(AUDIT_LOG).sort("at").collect()["action"].to_list()


def errors(app: AppTest) -> list[str]:
    """What the page says is wrong, without the marks that keep it plain text."""
    return [error.value.replace("\\", "") for error in app.error]


def button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def field(app: AppTest, label: str):
    return next(field for field in (*app.text_input, *app.selectbox) if field.label == label)


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
    field(app, "Soft limit").set_value("12 potato")
    button(app, "Save").click().run()
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


def test_everything_that_matches_is_marked_with_a_reason(mine):
    """Without one nothing is marked; marks taken back free nothing."""
    app = opened(mine, "stale", days="10", owner="carol")
    button(app, "Mark all that match …").click().run()
    assert any("1 files, 488.28 KB" in text.value for text in app.markdown)
    assert marks.marked(lake_of(mine)).is_empty()
    # A dialog is drawn in the run of its button: both are pressed at once.
    button(app, "Mark all that match …").click()
    button(app, "Mark 1 files").click().run()
    assert errors(app) == ["a reason is required: say why these files may go."]
    assert marks.marked(lake_of(mine)).is_empty()
    button(app, "Mark all that match …").click()
    app.text_input(key="mark-reason").set_value("left the company")
    button(app, "Mark 1 files").click().run()
    assert not app.error
    (row,) = marks.marked(lake_of(mine)).to_dicts()
    assert (row["path"], row["reason"], row["state"]) == (
        "models/net.pt", "left the company", "marked",
    )  # fmt: skip
    assert logged(mine)[-1] == "mark add"
    assert any("1 files are marked (488.28 KB)" in said.value for said in app.toast)
    assert "500,000 bytes" in cards(app)


def test_a_quota_is_set_edited_and_deleted(mine):
    app = opened(mine, "quotas")
    field(app, "Team").set_value("vision")
    field(app, "Backend").set_value("scratch")
    field(app, "Hard limit").set_value("1GB")
    field(app, "Grace").set_value("7d")
    button(app, "Save").click().run()
    assert not app.error
    assert quota(mine) == (0, 1024**3, 7 * 86_400)
    app = opened(mine, "quotas", quota="vision · scratch")
    assert field(app, "Hard limit").value == "1.00 GB"
    assert field(app, "Grace").value == "7d"
    field(app, "Soft limit").set_value("2GB")
    button(app, "Save").click().run()
    assert errors(app) == [f"soft_limit must be <= hard_limit: {2 * 1024**3} > {1024**3} bytes."]
    assert quota(mine) == (0, 1024**3, 7 * 86_400)
    field(app, "Soft limit").set_value("512MB")
    button(app, "Save").click().run()
    assert not app.error
    assert quota(mine) == (512 * 1024**2, 1024**3, 7 * 86_400)
    button(app, "Delete …").click().run()
    assert quota(mine)
    button(app, "Delete …").click()
    button(app, "Delete it").click().run()
    assert not app.error
    assert quota(mine) is None
    assert logged(mine)[-3:] == ["quota set", "quota set", "quota delete"]


def quota(config: Path) -> tuple[int, int, int] | None:
    """soft, hard, grace of vision on scratch, as stored; what is published agrees."""
    rows = [r for r in control.quotas(lake_of(config)).to_dicts() if r["backend"] == "scratch"]
    shown = published.current(str(config.parent / "lake")).rows("quota")
    assert [(r["soft_bytes"], r["hard_bytes"]) for r in rows] == [
        (r["soft_bytes"], r["hard_bytes"]) for r in shown if r["backend"] == "scratch"
    ]
    names = ("soft_bytes", "hard_bytes", "grace_seconds")
    return tuple(rows[0][name] for name in names) if rows else None  # type: ignore[return-value]


def test_a_rule_tells_what_it_takes_before_it_is_saved(mine):
    app = opened(mine, "ownership")
    app.selectbox(key="rule-backend").set_value("training")
    app.text_input(key="rule-prefix").set_value("models")
    app.selectbox(key="rule-team").set_value("vision").run()
    button(app, "Preview …").click().run()
    told = " ".join(text.value for text in app.markdown)
    assert "**1 files, 488.28 KB** from other owners" in told
    assert control.rules(lake_of(mine)).is_empty()
    button(app, "Preview …").click()
    button(app, "Save the rule").click().run()
    assert not app.error
    (rule,) = control.rules(lake_of(mine)).to_dicts()
    assert (rule["backend"], rule["prefix"], rule["team"]) == ("training", "models", "vision")
    assert logged(mine)[-1] == "rule add"
