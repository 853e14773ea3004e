"""`warpdrive doctor` with each thing broken: it names what is wrong and what to do."""

import datetime as dt

import pytest

from storage import clock, doctor
from storage.doctor import examine


def problems(home):
    """The checks that found something."""
    return {check.split(" ", 1)[-1] if check.startswith("backend") else check: problem
            for check, problem in examine(home.config) if problem}  # fmt: skip


def on_store(home, server, bucket):
    text = home.file.read_text()
    place = f"lake: {{root: '{server.url_of(bucket, 'lake')}', {server.reach()}}}"
    home.file.write_text(text.replace("lake: {root: ./lake}", place))


def test_where_all_is_well_every_check_passes_and_nothing_is_left(
    new_home, store_server, monkeypatch
):
    for name, value in getattr(store_server, "environ", dict)().items():
        monkeypatch.setenv(name, value)
    bucket, mine = store_server.bucket({"one": b"1"}), store_server.bucket()
    home = new_home(backends=[store_server.backend(bucket, name="s3"), "data"])
    (home.root() / "one").write_bytes(b"1")
    on_store(home, store_server, mine)
    checks = dict(examine(home.config))
    assert problems(home) == {}
    names = " ".join(checks)
    for part in ("writable", "clock", "8 writers, one winner", "free space"):
        assert part in names
    assert {"backend s3: lists", "backend s3: reads", "backend data: reads"} <= set(checks)
    assert store_server.keys(mine) == []


def test_a_store_that_ignores_if_none_match_is_found_out(new_home, moto_server, fault_proxy):
    home = new_home()
    on_store(home, moto_server.at(fault_proxy.url), moto_server.bucket())
    fault_proxy.fault("careless", n=-1, match="^PUT .*race")
    (check, problem), *others = problems(home).items()
    assert others == []
    assert "8 writers, one winner" in check
    assert "had not one winner for 20 of 20 keys (up to 8): Delta would lose rows here" in problem
    said = home.run("doctor")
    assert said.code == 1
    assert f"FAIL {check}: {problem}" in said.out


def test_a_clock_that_is_wrong_is_told(home, monkeypatch):
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + dt.timedelta(minutes=10))
    found = problems(home)
    assert len(found) == 2  # lake and landing zone
    assert all(name.endswith(": clock") for name in found)
    assert all("are 6" in text and "set both by NTP" in text for text in found.values())


def test_a_full_disk_is_told(home, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**62)
    found = problems(home)
    assert len(found) == 2
    assert all("MB are needed: free some" in text for text in found.values())


def test_a_place_that_is_no_folder_is_told(home):
    (home.folder / "lake").write_text("not a folder")
    (check, problem), *_ = problems(home).items()
    assert check.endswith("lake: writable")
    assert "cannot be opened" in problem


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (("bucket: ", "bucket: not-"), "create it, or correct its name and endpoint"),
        (("endpoint_url: 'http://127.0.0.1:", "endpoint_url: 'http://127.0.0.1:1', x: '"),
         "check endpoint_url"),
        (("secret_access_key: ", "secret_access_key_env: UNSET_"), "set them where auth: says"),
        (("method: static", "method: gcp_wif"), "is not supported"),
    ],
)  # fmt: skip
def test_a_backend_that_is_wrong_is_told_and_what_to_do(new_home, moto_server, change, advice):
    line = moto_server.backend(moto_server.bucket({"one": b"1"}))
    assert change[0] in line
    home = new_home(backends=[line.replace(*change), "data"])
    found = problems(home)
    assert list(found) == ["s3: lists"]
    assert advice in found["s3: lists"]


def test_a_refusal_is_told_apart_from_an_absence(new_home, moto_server, fault_proxy):
    fault_proxy.fault("403", n=-1)
    bucket = moto_server.bucket({"one": b"1"})
    home = new_home(backends=[moto_server.at(fault_proxy.url).backend(bucket)])
    assert "grant this identity list and read" in problems(home)["s3: lists"]
    fault_proxy.heal()
    fault_proxy.fault("403", n=-1, match="/one")
    assert list(problems(home)) == ["s3: reads"]


def test_a_file_to_read_is_found_behind_keys_that_nothing_else_takes(new_home, moto_server):
    """And below folders: where no file is read, nobody learns that none can be."""
    bucket = moto_server.bucket({"../up": b"1", "a//b": b"1", "empty": b"", "x/ok": b"1"})
    home = new_home(backends=[moto_server.backend(bucket), "data"])
    (home.root() / "deep" / "er").mkdir(parents=True)
    (home.root() / "deep" / "er" / "one").write_bytes(b"1")
    checks = dict(examine(home.config))
    assert checks["backend s3: reads"] == checks["backend data: reads"] == ""
    moto_server.delete(bucket, "x/ok")
    (home.root() / "deep" / "er" / "one").write_bytes(b"")
    found = examine(home.config)
    assert not [name for name, _ in found if "reads" in name]


def test_a_folder_that_is_missing_and_reports_that_are_not_there(new_home):
    reports = "{name: inv, type: s3, config: {bucket: b}, inventory: {location: ./reports}}"
    home = new_home(backends=["data", reports])
    home.root().rmdir()
    (home.folder / "reports").mkdir()
    found = problems(home)
    assert "create the folder, mount what should be there" in found["data: lists"]
    assert "have the store write one there" in found["inv: has reports"]


def test_fuse_that_is_missing_is_told(home, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = home.run("doctor")
    assert said.code == 1
    assert "FAIL mount: pyfuse3 is missing: pip install 'warpdrive[agent]'" in said.out
