# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each playbook and each tag of the site runs, as ansible-playbook itself lists it."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
PLAYBOOKS = {path.stem: path for path in sorted((ROOT / "playbooks").glob("*.yml"))}
DATA = {"postgresql", "kafka", "redis"}
VAULT = {"helm", "vault", "vault_init"}
WORK = {"check": "Check that the nodes have room for everything", "pull": "Pull | Have the images on the node"}
# Verb: the roles that do something when only its tag is asked for.
VERBS = {
    "setup": {"preflight", "k3s"},
    "check": {"preflight"},
    "pull": {"pull"},
    "install_vault_injector": {"helm", "vault"},
    "infra": VAULT | DATA,
    "vault": VAULT,
    "data": DATA,
    "apps": {"apps"},
    "monitoring": {"monitoring"},
    "ingress": {"ingress"},
    "verify": {"verify"},
}
LOOK = "See whether the cluster answers"


@pytest.fixture(scope="module")
def listed() -> dict[str, list[tuple[str, str, set[str]]]]:
    """By playbook: its tasks as (role, name, tags), without what only checks the arguments of a role."""
    command = ["ansible-playbook", "--list-tasks", "--inventory", "inventories/dev", *map(str, PLAYBOOKS.values())]
    environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list] = {}
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r"playbook: (.*)", line):
            tasks = found[pathlib.Path(match[1]).stem] = []
        elif match := re.fullmatch(r"      (?:cloudcartops\.platform\.(\w+) : )?(.+)\tTAGS: \[(.*)\]", line):
            tasks.append((match[1] or "", match[2], set(match[3].split(", "))))
    return {name: [t for t in tasks if "Validating arguments" not in t[1]] for name, tasks in found.items()}


def test_site_runs_every_part_in_order(listed):
    checked_first = len([tags for _role, _name, tags in listed["site"] if "lint" in tags])
    assert checked_first and all("lint" in tags for _role, _name, tags in listed["site"][:checked_first])
    parts = [
        name if name in WORK.values() else role
        for role, name, tags in listed["site"]
        if name in WORK.values() or (role and not tags & {"lint", "check", "pull"} and role != "preflight")
    ]
    assert list(dict.fromkeys(parts)) == [
        "k3s", *WORK.values(), "helm", "vault", "vault_init", "postgresql", "kafka", "redis", "apps", "monitoring",
        "ingress", "verify",
    ]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_of_the_site_is_its_playbook(listed, verb):
    """The tag alone runs the roles of the verb, after the look at inventory and cluster; so does the playbook."""
    for tasks in ([t for t in listed["site"] if verb in t[2]], listed[verb]):
        assert {role for role, _name, _tags in tasks if role} - {"preflight"} == VERBS[verb] - {"preflight"}
        names = {name for _role, name, _tags in tasks}
        assert WORK.get(verb, LOOK if verb != "setup" else "K3s | Run the server") in names
    assert {t[1] for t in listed["site"] if verb in t[2]} <= {t[1] for t in listed[verb]}


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_task_has_the_tag_of_its_playbook(listed, playbook):
    if playbook not in ("site", "lint", "capacity"):
        assert [name for _role, name, tags in listed[playbook] if playbook not in tags] == []


@pytest.mark.parametrize("role", sorted({role for roles in VERBS.values() for role in roles}))
def test_every_role_has_its_tag(listed, role):
    tasks = [task for task in listed["site"] if role in task[2]]
    assert role in {found for found, _name, _tags in tasks}
    assert LOOK in {name for _role, name, _tags in tasks} or role in ("preflight", "k3s", "pull")


def test_one_look_at_the_cluster_is_enough():
    tasks = yaml.safe_load((ROOT / "playbooks/tasks/platform.yml").read_text(encoding="utf-8"))
    assert all(task["when"].startswith("__platform_cluster is not defined") for task in tasks)
    assert tasks[-1]["register"] == "__platform_cluster"


@pytest.mark.parametrize("tags", ["lint", "check", "pull", "data", "verify"])
def test_each_part_is_planned_alone_where_there_is_nothing(tmp_path, tags):
    """Also the checks of arguments, which Ansible makes for roles that no tag asks for."""
    platform = yaml.safe_load((ROOT / "inventories/dev/group_vars/platform.yml").read_text(encoding="utf-8"))
    platform["cloudcartops_kubeconfig"] = str(tmp_path / "absent.yaml")
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"platform": {"hosts": {"cluster": platform}}}), encoding="utf-8"
    )
    command = ["ansible-playbook", "site.yml", "--check", "--tags", tags, "--inventory", str(tmp_path / "hosts.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (" changed=0 " not in done.stdout) == (tags == "data")


@pytest.mark.parametrize("lost", [True, False])
def test_nothing_follows_when_a_machine_was_lost_during_setup(tmp_path, lost):
    """The second play of setup behind one in which a machine stops answering."""
    setup, stop = yaml.safe_load((ROOT / "playbooks/setup.yml").read_text(encoding="utf-8"))
    tasks = [{"ansible.builtin.set_fact": {"__preflight_wanted": {}}}, {"ansible.builtin.ping": {}}]
    setup = setup | {"become": False, "roles": [], "tasks": tasks}
    after = {"hosts": "platform", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": "and so on"}}]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([setup, stop, after]), encoding="utf-8")
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1} if lost else here
    groups = {"k3s_server": {"one": here, "two": gone}, "platform": {"cluster": here}}
    hosts = {name: {"hosts": members} for name, members in groups.items()}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    command = ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == lost, done.stdout + done.stderr
    assert ("and so on" not in done.stdout) == lost
    assert ("is not complete on one, two, and nothing" in " ".join(done.stdout.split())) == lost
