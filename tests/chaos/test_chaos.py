"""A short campaign in every test run, and proof that the oracle sees what it should see."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CAMPAIGN = Path(__file__).with_name("campaign.py")
SABOTAGE = """
import sys
sys.path.insert(0, {folder!r})
import campaign
from warpdrive_agent import {module}
{change}
print(sum(bool(campaign.one_trial(seed)) for seed in range(1, 9)))
"""


def run(*command):
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        capture_output=True, text=True, cwd=ROOT, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_twenty_trials_lose_nothing_silently():
    done = run(str(CAMPAIGN), "--seed", "20", "--trials", "20")
    assert done.stdout.splitlines()[-1] == "trials=20 violations=0", done.stdout + done.stderr


def sabotaged(module, change):
    code = SABOTAGE.format(folder=str(CAMPAIGN.parent), module=module, change=change)
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def test_the_oracle_sees_a_loss_that_is_not_reported():
    change = "whole = recovery._farewell; recovery._farewell = lambda b, n, lost: whole(b, n, 0)"
    assert sabotaged("recovery", change) > 0


def test_the_oracle_sees_an_event_that_is_sent_twice():
    change = """
store = campaign.ObjectStoreSink.send
def again(self, name, data):
    store(self, name, data)
    store(self, name.replace("/node=", "/node=again-"), data)
campaign.ObjectStoreSink.send = again
"""
    assert sabotaged("uploader", change) > 0
