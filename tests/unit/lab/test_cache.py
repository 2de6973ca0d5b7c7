# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import threading
import time

import pytest

from lab import cache
from lab.cache import Component, LabError


def write_value(component, out, run):
    (out / "value").write_text(str(component.inputs["value"]))


def copy_need(component, out, run):
    run(["cp", component.need("base") / "value", out / "copy"])


def fail(component, out, run):
    (out / "half").write_text("")
    run(["sh", "-c", "echo the reason; exit 3"])


def test_the_key_follows_inputs_sources_and_needs(tmp_path):
    source = tmp_path / "source"
    source.write_text("one")
    base = Component("base", write_value, {"value": 1})
    component = Component("top", copy_need, {}, (source,), (base,))
    keys = {component.key}
    keys.add(Component("top", copy_need, {"flag": ""}, (source,), (base,)).key)
    keys.add(Component("top", copy_need, {}, (source,), (Component("base", write_value, {"value": 2}),)).key)
    keys.add(Component("top", write_value, {}, (source,), (base,)).key)
    source.write_text("two")
    keys.add(Component("top", copy_need, {}, (source,), (base,)).key)
    assert len(keys) == 5
    source.write_text("one")
    assert Component("top", copy_need, {}, (source,), (base,)).key == component.key


def test_the_hash_of_a_folder_sees_names_modes_and_links_but_no_bytecode(tmp_path):
    (tmp_path / "a").write_text("x")
    seen = [cache.tree_hash(tmp_path)]
    (tmp_path / "a").rename(tmp_path / "b")
    seen.append(cache.tree_hash(tmp_path))
    (tmp_path / "b").chmod(0o755)
    seen.append(cache.tree_hash(tmp_path))
    (tmp_path / "link").symlink_to("b")
    seen.append(cache.tree_hash(tmp_path))
    assert len(set(seen)) == 4
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/b.pyc").write_text("noise")
    assert cache.tree_hash(tmp_path) == seen[-1]


def test_what_exists_is_not_built_again(lab_cache):
    base = Component("base", write_value, {"value": 7})
    top = Component("top", copy_need, {}, (), (base,))
    assert (cache.ensure(top) / "copy").read_text() == "7"
    (base.path / "value").unlink()
    assert (cache.ensure(top) / "copy").read_text() == "7"
    assert not any((lab_cache / ".work").iterdir())


def test_what_a_killed_build_left_is_thrown_away(lab_cache):
    left = lab_cache / ".work/base/out"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    found = cache.ensure(Component("base", write_value, {"value": 7}))
    assert [path.name for path in found.iterdir()] == ["value"]


def test_a_failed_build_says_why_and_leaves_no_component(lab_cache):
    component = Component("broken", fail)
    with pytest.raises(LabError, match=r"(?s)broken: .*exit status 3.*the reason.*broken\.log"):
        cache.ensure(component)
    assert not component.path.exists()


def test_a_missing_source_is_named(tmp_path):
    component = Component("top", write_value, {"value": 1}, (tmp_path / "gone",))
    with pytest.raises(LabError, match="top: its source .*/gone does not exist"):
        cache.ensure(component)


def test_what_changed_while_it_was_built_is_not_kept(tmp_path):
    source = tmp_path / "source"
    source.write_text("one")

    def edit(component, out, run):
        source.write_text("two")

    component = Component("edited", edit, {}, (source,))
    with pytest.raises(LabError, match="edited: its sources changed while it was built; run it again"):
        cache.ensure(component)
    assert not component.path.exists()


def test_two_runs_build_once(lab_cache):
    built = []

    def slow(component, out, run):
        built.append(out)
        time.sleep(0.2)

    threads = [threading.Thread(target=cache.ensure, args=(Component("slow", slow),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_only_what_was_not_used_lately_is_pruned():
    old, recent, current = (Component("base", write_value, {"value": value}) for value in range(3))
    top = Component("top", copy_need, {}, (), (current,))
    for component in (old, recent, top):
        cache.ensure(component)
    long_ago = time.time() - (cache.UNUSED_AFTER_DAYS + 1) * 86400
    os.utime(old.path, (long_ago, long_ago))
    os.utime(current.path, (long_ago, long_ago))
    cache.prune(top)
    assert [component.path.exists() for component in (old, recent, current, top)] == [False, True, True, True]
