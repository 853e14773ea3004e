"""Who opened a file: names, jobs and pods, without ever failing."""

import os
import pwd

import pytest

from warpdrive_agent.identity import Identity, Who, pod_of

POD = "3f8d6f3e-1111-2222-3333-444455556666"
CONTAINER = "ab" * 32


def process(proc, pid, started, cgroup="0::/user.slice\n", environ=b"HOME=/\0"):
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    fields = ["S"] + ["0"] * 18 + [str(started)] + ["0"] * 20
    (folder / "stat").write_text(f"{pid} (a) b) {' '.join(fields)}\n")
    (folder / "cgroup").write_text(cgroup)
    (folder / "environ").write_bytes(environ)


def resolved(identity, uid, pid):
    who = Who(uid, pid)
    identity._resolve(who)
    return who


@pytest.mark.parametrize(
    ("uid", "user"),
    [(0, "root"), (pwd.getpwnam("nobody").pw_uid, "nobody"), (987654, "uid:987654"),
     (None, "unknown")],
)  # fmt: skip
def test_a_user_has_a_name_or_a_number_and_is_unknown_only_without_uid(uid, user):
    identity = Identity()
    assert identity.user_of(Who(uid)) == user
    assert identity.user_of(resolved(identity, uid, os.getpid())) == user


@pytest.mark.parametrize(
    ("cgroup", "pod"),
    [
        (f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-x.scope", POD),
        (f"1:cpu:/kubepods/burstable/pod{POD}/{CONTAINER}", POD),
        (f"0::/system.slice/docker-{CONTAINER}.scope", CONTAINER),
        (f"0::/docker/{CONTAINER}", CONTAINER),
        ("0::/user.slice/user-0.slice", ""),
    ],
)
def test_pods_and_containers_are_read_from_the_cgroup(cgroup, pod):
    assert pod_of(cgroup) == pod


def test_a_slurm_job_is_read_from_cgroup_or_environment(tmp_path):
    process(tmp_path, 10, 1, cgroup="0::/system.slice/slurmstepd.scope/job_4711/step_0/user\n")
    process(tmp_path, 11, 1, environ=b"A=1\0SLURM_JOB_ID=4712\0B=2\0")
    process(tmp_path, 12, 1, environ=b"NOT_SLURM_JOB_ID=1\0")
    identity = Identity(proc=tmp_path)
    assert [resolved(identity, 0, pid).job for pid in (10, 11, 12, 13)] == ["4711", "4712", "", ""]


def test_a_reused_pid_is_another_process(tmp_path):
    process(tmp_path, 10, 1, environ=b"SLURM_JOB_ID=1\0")
    identity = Identity(proc=tmp_path)
    assert resolved(identity, 0, 10).job == "1"
    process(tmp_path, 10, 1, environ=b"SLURM_JOB_ID=changed\0")
    assert resolved(identity, 0, 10).job == "1", "kept: the same process"
    process(tmp_path, 10, 2, environ=b"SLURM_JOB_ID=2\0")
    assert resolved(identity, 0, 10).job == "2"


def test_the_worker_resolves_soon_and_survives_nonsense(monkeypatch):
    identity = Identity()
    monkeypatch.setattr(identity, "_name", lambda uid: 1 / 0 if uid == 1 else "someone")
    identity.start()
    identity.of(1, os.getpid())
    who = identity.of(2, os.getpid())
    identity.settle(2.0)
    identity.close()
    identity._worker.join(2.0)
    assert (who.user, who.resolved) == ("someone", True)
