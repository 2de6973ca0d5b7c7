# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask every part of the platform at once whether it does its work, and change nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.broker import Broker
from ansible_collections.cloudcartops.platform.plugins.module_utils.kafka.topics import Topic, read
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.client import connect
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.exec import run_in_container
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.port_forward import PortForward
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.progress import holds
from ansible_collections.cloudcartops.platform.plugins.module_utils.site import (
    SITE_OPTIONS,
    Broken,
    api,
    open_site,
    page,
    patiently,
    row,
)
from ansible_collections.cloudcartops.platform.plugins.module_utils.smoke import targets
from ansible_collections.cloudcartops.platform.plugins.module_utils.vault.injector_check import vault_injector_check

OPTIONS = {
    "namespace": {"type": "str", "required": True},
    "services": {"type": "dict", "default": {}},
    "topics": {"type": "list", "elements": "str", "default": []},
    "jobs": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 0},
    **SITE_OPTIONS,
}
REDIS_PORT, KAFKA_PORT = 6379, 29092
ANSWER_TIMEOUT = 10  # seconds
# seconds: Prometheus scrapes every 15, Traefik watches, and CoreDNS says for 5 what was true before: that there is no
# such name, or the address of a pod that is gone
FIRST_SCRAPES, NEW_ROUTES, NEW_NAMES = 45, 10, 10
# Sets the password that the pod got, over the socket and as the superuser that only the container knows. psql reads it
# from its environment, so it is in no argument.
SET_PASSWORD = (
    r'. /vault/secrets/database && printf "\\\\getenv p POSTGRES_PASSWORD\nALTER ROLE \"%s\" PASSWORD :\047p\047;\n" '
    r'"$POSTGRES_USER" | psql -qU postgres'
)
# Sources the injected credentials in the pod, then asks over the Service with the password. None of it leaves the pod.
COUNT_PRODUCTS = """. /vault/secrets/database && PGUSER="$POSTGRES_USER" PGPASSWORD="$POSTGRES_PASSWORD" \
PGDATABASE="$POSTGRES_DB" PGCONNECT_TIMEOUT=10 exec psql --no-psqlrc --no-password --tuples-only --no-align \
--host postgres --command 'SELECT count(*) FROM products'"""


def cloudcart_health_info(params: dict, check_mode: bool) -> dict:
    """Logic of the module of that name."""
    client = connect(params["kubeconfig"], params["context"], check_mode)
    result = {"changed": False, "cluster": "absent" if client is None else "present", "checks": []}
    if client is None:
        return result
    health = Health(client, params, 0 if check_mode else params["timeout"])
    with ThreadPoolExecutor(8) as pool:
        result["checks"] = list(pool.map(lambda check: row(*check), health.checks()))
    return result


class Health:
    """The checks. Each returns what it saw, or raises Broken."""

    def __init__(self, client, params: dict, seconds: int) -> None:
        self.client, self.params, self.seconds, self.namespace = client, params, seconds, params["namespace"]
        self.workloads = {
            item["metadata"]["name"]: item
            for kind in ("Deployment", "StatefulSet")
            for item in client.list(kind, self.namespace)
        }

    def checks(self) -> list[tuple]:
        """All of them: name, method, its arguments."""
        services = [name for name, entry in self.params["services"].items() if "image" in entry]
        return [
            ("Nodes", self.nodes),
            ("Vault injector", self.injector),
            ("PostgreSQL", self.postgresql),
            ("Redis", self.redis),
            ("Kafka", self.kafka, self.params["topics"]),
            *((name, self.service, name, self.params["services"][name]) for name in services),
            *([("Prometheus", self.prometheus)] if self.params["jobs"] else []),
            ("Ingress", self.ingress),
        ]

    def nodes(self) -> str:
        """Every node is ready."""
        state = {node["metadata"]["name"]: holds(node, "Ready") for node in self.client.list("Node")}
        bad = [name for name, ready in state.items() if not ready]
        seen = f"{len(state) - len(bad)} of {len(state)} ready, Kubernetes {self.client.version['gitVersion']}"
        if bad or not state:
            raise Broken(
                seen,
                f"See why with 'kubectl describe node {' '.join(bad)}', and on the machine with 'journalctl -u k3s' "
                "(k3s-agent on an agent).",
            )
        return seen

    def injector(self) -> str:
        """A pod that asks for injection would be injected."""
        params = {"webhook": "vault-agent-injector-cfg", "service_account": "default", "timeout": 10, "required": False}
        found = vault_injector_check({**self.params, **params}, False)
        if not found["live"]:
            raise Broken(found["msg"], "When that does not help, run the play cloudcartops.platform.vault again.")
        return "injects into new pods"

    def postgresql(self) -> str:
        """The server finds the products, for who logs in with the credentials from Vault."""
        self._ready("postgres", "data")
        return patiently(self._postgresql, min(self.seconds, NEW_NAMES))

    def _postgresql(self) -> str:
        command = ["/bin/sh", "-c", COUNT_PRODUCTS]
        try:
            code, out, error = run_in_container(self.client, self.namespace, "postgres-0", command, "postgres")
        except PlatformError as e:
            raise Broken(e.what, self._logs("postgres")) from e
        if code != 0:
            raise Broken(" ".join(error.split()), self._postgresql_fix(error))
        seen = f"{out.strip()} products, read with the credentials from Vault"
        if out.strip() == "0":
            raise Broken(seen, self._postgresql_fix("relation"))
        return seen

    def _postgresql_fix(self, error: str) -> str:
        if "authentication failed" in error:
            return (
                "Vault and the database have different passwords, and neither follows the other by itself. Put the "
                "database's one back into Vault and restart the pod ('kubectl -n "
                f"{self.namespace} rollout restart statefulset/postgres'), or give the database the one that the pod "
                f"got from Vault: kubectl -n {self.namespace} exec postgres-0 -c postgres -- sh -c '{SET_PASSWORD}'"
            )
        if "relation" in error:
            return (
                f"Let the tables and products be put in again: kubectl -n {self.namespace} delete job "
                "-l app=postgres-schema, then run the play cloudcartops.platform.data."
            )
        return "Run the play cloudcartops.platform.data again. It names what keeps the server from starting."

    def redis(self) -> str:
        """Redis answers a ping (https://redis.io/docs/latest/develop/reference/protocol-spec/#inline-commands)."""
        seen = self._ready("redis", "data")
        answer = self.talk("redis", REDIS_PORT, lambda pod: pod.send(b"PING\r\n") or pod.receive(ANSWER_TIMEOUT))
        if answer.strip() != b"+PONG":
            raise Broken(f"Redis answers a ping with {answer[:100]!r}.", self._logs("redis"))
        return f"{seen}, answers a ping"

    def kafka(self, topics: list[str]) -> str:
        """The broker has all topics."""
        self._ready("zookeeper", "data")
        seen = self._ready("kafka", "data")
        found = self.talk("kafka", KAFKA_PORT, lambda pod: read(Broker(pod), [Topic(name, 1) for name in topics]))
        missing = [name for name in topics if name not in found]
        if missing:
            raise Broken(
                f"There is no topic {', '.join(missing)}: events for it are lost.",
                "Run the play cloudcartops.platform.data.",
            )
        return f"{seen}, has {len(found)} topics"

    def service(self, name: str, entry: dict) -> str:
        """A service of the catalogue: its pods are ready, and it answers as itself."""
        seen = self._ready(name, "apps")
        if not entry.get("health"):
            return seen
        url = self.client.service_proxy_url(self.namespace, "http", name, entry["port"])
        try:
            answer = self.client.proxy(url, entry["health"], timeout=ANSWER_TIMEOUT)
        except PlatformError as e:
            raise Broken(f"{seen}, but {entry['health']} gives no answer: {e.what}", self._logs(name)) from e
        if answer.status_code != 200:
            raise Broken(f"{seen}, but {entry['health']} answers {answer.status_code}.", self._logs(name))
        told = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
        other = self.params["services"].get(told.get("service", name), {})
        if other.get("image") != entry["image"] and other:  # services of one image call themselves alike
            raise Broken(f"The Service {name} leads to {told['service']}.", "Run the play cloudcartops.platform.apps.")
        return f"{seen}, {entry['health']} answers"

    def prometheus(self) -> str:
        """Prometheus scrapes all its targets."""
        self._ready("prometheus", "monitoring")
        return patiently(
            lambda: targets(self.client, self.namespace, self.params["jobs"]), min(self.seconds, FIRST_SCRAPES)
        )

    def ingress(self) -> str:
        """The routes lead where they should, by what comes back: the frontend answers 200 to everything."""
        return patiently(self._ingress, min(self.seconds, NEW_ROUTES))

    def _ingress(self) -> str:
        site = open_site(self.params, self.client)
        page(site)
        found = api(site.call("GET", "/api/products"), 200, self._logs("api-gateway"))
        if not isinstance(found, list):
            raise Broken("/api/products gave no list.", self._logs("api-gateway"))
        return f"{site.domain} shows the shop and its products"

    def _ready(self, name: str, play: str) -> str:
        again = f"Run the play cloudcartops.platform.{play}."
        item = self.workloads.get(name)
        if item is None:
            raise Broken(f"There is no workload {name}.", again)
        wanted, ready = item["spec"].get("replicas", 1), item["status"].get("readyReplicas", 0)
        if not wanted:
            raise Broken(f"{name} is scaled to 0.", again)
        if ready < wanted:
            fix = f"See why: kubectl -n {self.namespace} describe pods -l app={name}"
            raise Broken(f"{ready} of {wanted} pods of {name} are ready.", fix)
        return f"{ready} of {wanted} ready"

    def talk(self, app: str, port: int, talk):
        """What ``talk`` returns of a connection to a port of a ready pod."""
        pods = [pod for pod in self.client.list("Pod", self.namespace, labels=f"app={app}") if holds(pod, "Ready")]
        if not pods:
            raise Broken(f"No pod of {app} is ready.", self._logs(app))
        try:
            with closing(PortForward(self.client, self.namespace, pods[0]["metadata"]["name"], port)) as connection:
                return talk(connection)
        except PlatformError as e:
            raise Broken(e.what, self._logs(app)) from e

    def _logs(self, app: str) -> str:
        return f"See what it says: kubectl -n {self.namespace} logs -l app={app} --all-containers"
