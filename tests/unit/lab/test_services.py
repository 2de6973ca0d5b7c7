# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of Kafka, ZooKeeper and Redis: what their scripts make of environment and arguments."""

from __future__ import annotations

import json
import os
import pathlib
import socketserver
import subprocess
import tarfile
import threading

import pytest
import yaml

from lab import build, host, images, vm

FILES = pathlib.Path(build.LAB) / "files"


def install(folder: pathlib.Path, script: pathlib.Path, moved: dict[str, pathlib.Path]) -> pathlib.Path:
    """Copy a script with other paths than an image has; return it."""
    text = script.read_text()
    for old, new in moved.items():
        text = text.replace(old, str(new))
    program(folder / script.name, text.partition("\n")[2], text.partition("\n")[0])
    return folder / script.name


def program(path: pathlib.Path, text: str, interpreter: str = "#!/bin/sh") -> None:
    path.write_text(f"{interpreter}\n{text}\n")
    path.chmod(0o755)


# ---- Kafka and ZooKeeper


@pytest.fixture
def zookeeper():
    """A port that answers as ZooKeeper does."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self):
            if self.rfile.readline() == b"srvr\n":
                self.wfile.write(b"Zookeeper version: 3.8.4\nLatency\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def start(tmp_path):
    """Run the images' entry script; return its answer with the properties that the server was started with."""
    etc, var = tmp_path / "etc", tmp_path / "var"
    for folder in (etc, var / "kafka/data", var / "zookeeper/data", var / "zookeeper/log"):
        folder.mkdir(parents=True)
    script = install(tmp_path, FILES / "kafka/run", {"/etc/kafka": etc, "/var/lib": var})
    for name in ("kafka", "zookeeper"):
        program(tmp_path / f"{name}-server-start", 'echo "started with $1"')

    def run(component, *arguments, **environment):
        answer = subprocess.run(
            [script, *arguments],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "COMPONENT": component} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        file = etc / f"{component}.properties"
        lines = file.read_text().splitlines() if file.exists() else []
        return answer, dict(line.split("=", 1) for line in lines)

    return run


KAFKA = {
    "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:29092,PLAINTEXT_HOST://kafka.cloudcart.svc.cluster.local:9092"
}


def test_the_environment_becomes_the_properties_of_kafka(start, zookeeper):
    answer, properties = start(
        "kafka",
        **KAFKA,
        KAFKA_ZOOKEEPER_CONNECT=f"{zookeeper}/chroot",
        KAFKA_BROKER_ID="1",
        KAFKA_A__B___C="d=e f",
        KAFKA_HEAP_OPTS="-Xmx256M",
        KAFKA_CUB_ZK_TIMEOUT="5",
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[-1].startswith("started with ")
    assert properties == {
        "advertised.listeners": KAFKA["KAFKA_ADVERTISED_LISTENERS"],
        "listeners": "PLAINTEXT://0.0.0.0:29092,PLAINTEXT_HOST://0.0.0.0:9092",
        "log.dirs": properties["log.dirs"],
        "zookeeper.connect": f"{zookeeper}/chroot",
        "broker.id": "1",
        "a_b-c": "d=e f",
    }
    assert properties["log.dirs"].endswith("/kafka/data")


def test_a_service_link_stops_kafka(start):
    answer, _ = start("kafka", **KAFKA, KAFKA_ZOOKEEPER_CONNECT="z:1", KAFKA_PORT="tcp://10.43.0.9:9092")
    assert answer.returncode == 1 and "port is deprecated" in answer.stdout


@pytest.mark.parametrize(
    ("component", "environment", "missing"),
    [
        ("kafka", KAFKA, "KAFKA_ZOOKEEPER_CONNECT is required"),
        ("kafka", {"KAFKA_ZOOKEEPER_CONNECT": "z:1"}, "KAFKA_ADVERTISED_LISTENERS is required"),
        (
            "kafka",
            KAFKA | {"KAFKA_ZOOKEEPER_CONNECT": "127.0.0.1:1", "KAFKA_CUB_ZK_TIMEOUT": "0"},
            "No ZooKeeper answered",
        ),
        ("zookeeper", {}, "ZOOKEEPER_CLIENT_PORT is required"),
    ],
)
def test_what_is_missing_is_named(start, component, environment, missing):
    answer, _ = start(component, **environment)
    assert answer.returncode == 1 and missing in answer.stdout
    assert "started" not in answer.stdout


def test_the_environment_becomes_the_properties_of_zookeeper(start):
    answer, properties = start("zookeeper", "ZOOKEEPER_TICK_TIME=3000", ZOOKEEPER_CLIENT_PORT="2181", ZOOKEEPER_X="y")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert properties.pop("dataDir").endswith("/zookeeper/data")
    assert properties.pop("dataLogDir").endswith("/zookeeper/log")
    assert properties == {"clientPort": "2181", "tickTime": "3000"}


@pytest.mark.parametrize(
    ("tool", "environment", "expected"),
    [
        ("kafka-server-start", {}, ["-Xmx1G -Xms1G", "kafka.Kafka given", "/log4j.properties", "kafkaServer-gc.log"]),
        ("zookeeper-server-start", {"KAFKA_HEAP_OPTS": "-Xmx9M"}, ["-Xmx9M", "QuorumPeerMain given"]),
        ("kafka-topics", {"KAFKA_OPTS": "-Da=b"}, ["-Da=b", "tools.TopicCommand given", "tools-log4j.properties"]),
        ("zookeeper-shell", {}, ["ZooKeeperMainWithTlsSupportForKafka -server given"]),
    ],
)
def test_tools_run_their_class(tmp_path, tool, environment, expected):
    program(tmp_path / "java", 'echo "$@"')
    script = tmp_path / tool
    script.symlink_to(FILES / "kafka/kafka-run-class")
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    answer = subprocess.run([script, "given"], env=environment, capture_output=True, text=True, check=True).stdout
    assert [part for part in expected if part not in answer] == []


def test_each_tool_of_the_image_is_known():
    script = (FILES / "kafka/kafka-run-class").read_text()
    assert [tool for tool in build.KAFKA_TOOLS if f"    {tool})" not in script] == []


def test_versions_of_jars_are_read_where_they_stand():
    pom = build.SRC / "kafka/pom.xml"
    assert build.maven_version(pom, "kafka-tools") == build.maven_version(pom, "kafka_2.13") == "3.9.1"
    assert build.maven_version(pom, "zookeeper") == "3.8.4"


# ---- Redis


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--protected-mode no"),
        (["--save", ""], "--protected-mode no --save "),
        (["silent.conf", "--port", "1"], "silent.conf --protected-mode no --port 1"),
        (["strict.conf"], "strict.conf"),
        (["--version"], "--version"),
    ],
)
def test_redis_is_open_unless_told_otherwise(tmp_path, arguments, expected):
    program(tmp_path / "real", 'echo "$@"')
    script = install(tmp_path, FILES / "redis/redis-server", {"/usr/lib/redis/redis-server": tmp_path / "real"})
    (tmp_path / "silent.conf").write_text("# protected-mode yes\nsave 60 1\n")
    (tmp_path / "strict.conf").write_text("protected-mode yes\n")
    answer = subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.removesuffix("\n") == expected


# ---- The table, the host, the inventory


def test_the_libraries_of_a_program_are_those_its_loader_finds(tmp_path):
    folder = tmp_path / "lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    (folder / "libc.so.6").touch()
    found = f"linux-vdso.so.1 (0x1)\\n libc.so.6 => {folder}/libc.so.6 (0x2)\\n own.so => {tmp_path}/own/own.so (0x3)"
    program(
        folder / "ld-linux-x86-64.so.2", f'case $4 in *bad) echo "libz.so => not found" ;; *) printf "{found}" ;; esac'
    )
    files = images.libraries(tmp_path, "bin/good")
    assert {file.name for file in files} == {
        "/lib/libc.so.6",
        "/lib/ld-linux-x86-64.so.2",
        "/lib64/ld-linux-x86-64.so.2",
    }
    with pytest.raises(build.cache.LabError, match="bin/bad lacks libraries"):
        images.libraries(tmp_path, "bin/bad")


def test_equal_layers_are_written_once(tmp_path):
    files = [images.File("/a", text="a")]
    found = [images.Image(name, "1", [], {"User": name}, files) for name in ("one", "two")]
    images.write(found, tmp_path / "both.tar")
    with tarfile.open(tmp_path / "both.tar") as archive:
        names = archive.getnames()
        one, two = json.load(archive.extractfile("manifest.json"))
    assert one["Layers"] == two["Layers"] and one["Config"] != two["Config"]
    assert len([name for name in names if name.endswith(".tar")]) == 1


def test_maven_is_installed_only_where_it_is_missing(monkeypatch):
    asked = []
    monkeypatch.setattr(host, "_install", lambda missing: asked.append(missing()))
    monkeypatch.setattr(host.shutil, "which", lambda program: None)
    host.maven()
    monkeypatch.setattr(host.shutil, "which", lambda program: f"/usr/bin/{program}")
    host.maven()
    assert asked == [["maven"], []]


def test_the_lab_sets_only_public_variables_of_roles():
    roles = build.LAB.parent / "roles"
    public = {name for path in roles.glob("*/defaults/main.yml") for name in yaml.safe_load(path.read_text())}
    assert vm.SIZES.keys() <= public
