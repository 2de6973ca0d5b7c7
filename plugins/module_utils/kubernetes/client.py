# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API over one requests session: connect, read, apply, delete, watch, logs, and the service proxy.

API conventions: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ansible_collections.cloudcartops.platform.plugins.module_utils._errors import PlatformError, require
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes import kubeconfig as _kubeconfig
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.errors import ApiError, api_error
from ansible_collections.cloudcartops.platform.plugins.module_utils.kubernetes.resources import (
    API_VERSIONS,
    BUILT_IN,
    Resource,
    ref,
)

FIELD_MANAGER = "cloudcartops"
CONNECT_TIMEOUT = 5  # seconds
READ_TIMEOUT = 60  # seconds; the API server gives up on a request after 60 s as well
HOW_TO_MAKE = (
    "Make the cluster with the play cloudcartops.platform.setup (site.yml runs it too), or point kubeconfig at the "
    "cluster you have."
)


def connect(kubeconfig: str, context: str | None = None, check_mode: bool = False) -> Client | None:
    """Connect to the cluster that the file ``kubeconfig`` names and ask its version.

    Returns None in check mode when there is no cluster yet: no such file, or nothing listens at the address.

    :raises PlatformError: outside check mode for the same two causes; always for any other failure.
    """
    try:
        client = Client(_kubeconfig.load(kubeconfig, context))
    except FileNotFoundError:
        if check_mode:
            return None
        raise PlatformError(f"There is no kubeconfig {kubeconfig}.", HOW_TO_MAKE, cluster="absent") from None
    except OSError as e:
        raise PlatformError(f"The kubeconfig {kubeconfig} cannot be read: {e.strerror}.") from e
    try:
        client.version = client.call("GET", "/version", doing="tell its version").json()
    except Unreachable as e:
        if check_mode and e.refused:
            return None
        raise PlatformError(
            f"{e.what} The address is from the kubeconfig {kubeconfig}.",
            e.fix or HOW_TO_MAKE,
            cluster="absent" if e.refused else "unreachable",
        ) from e
    return client


class Unreachable(PlatformError):
    """No answer came from the API server. ``refused`` when the machine answered that nothing listens there."""

    def __init__(self, what: str, fix: str = "", refused: bool = False) -> None:
        super().__init__(what, fix)
        self.refused = refused


class Client:
    """One API server. Objects are plain dicts; absence is None; refusals are ApiError."""

    def __init__(self, access: _kubeconfig.Access) -> None:
        self.access, self.server = access, access.server
        self.version: dict = {}
        self._session = self.requests_session()
        self._discovered: dict[str, list] = {}

    # transport

    def requests_session(self):
        """A new requests.Session that authenticates to the API server (give requests ``verify=session.verify`` too)."""
        requests = require("requests")
        access = self.access
        session = requests.Session()
        session.trust_env = False  # else REQUESTS_CA_BUNDLE would replace the kubeconfig's CA, and ~/.netrc its user
        session.verify, session.cert = access.verify, access.cert
        session.proxies = (
            dict.fromkeys(("http", "https"), access.proxy)
            if access.proxy
            else requests.utils.get_environ_proxies(self.server)
        )
        if access.verify is False:
            require("urllib3").disable_warnings()

        def authenticate(request):
            header = access.authorization()
            if header:
                request.headers["Authorization"] = header
            return request

        session.auth = authenticate
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=16)
        if access.server_name:
            adapter.init_poolmanager(1, 16, server_hostname=access.server_name, assert_hostname=access.server_name)
        session.mount(self.server, adapter)
        return session

    def call(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        query: dict | None = None,
        body: object = None,
        content_type: str = "application/json",
        stream: bool = False,
        timeout: float = READ_TIMEOUT,
    ):
        """Send one request to the API server and return the requests.Response.

        ``doing`` completes the sentence "The cluster refused to …".

        :raises ApiError: for any status from 400 on.
        :raises Unreachable: no answer.
        """
        exceptions = require("requests").exceptions
        try:
            response = self._session.request(
                method,
                self.server + path,
                params=query,
                data=None if body is None else json.dumps(body),
                headers={"Content-Type": content_type, "Accept": "application/json"},
                stream=stream,
                timeout=(CONNECT_TIMEOUT, timeout),
            )
        except exceptions.RequestException as e:
            raise self._unreachable(e) from e
        if response.status_code >= 400:
            try:
                answer = response.json()
            except ValueError:
                answer = {"message": response.text.strip()[:500]}
            raise api_error(response.status_code, answer if isinstance(answer, dict) else {}, doing)
        return response

    def _unreachable(self, e: Exception) -> Unreachable:
        exceptions = require("requests").exceptions
        if isinstance(e, exceptions.SSLError):
            cause = str(_root_cause(e))
            fix = "If the cluster was made anew, or has a new address, fetch the kubeconfig from it again."
            if "expired" in cause:
                fix = (
                    "K3s renews its certificates when it starts: 'systemctl restart k3s' on the server, which leaves "
                    "pods running. If it says the same then, the clock of one of the machines is wrong."
                )
            return Unreachable(f"The API server {self.server} does not prove its identity: {cause}.", fix)
        if isinstance(e, exceptions.ConnectTimeout):
            return Unreachable(
                f"The API server {self.server} did not answer within {CONNECT_TIMEOUT} s.",
                "Check that the machine runs, and that no firewall stands between it and the control node.",
            )
        if isinstance(e, exceptions.ReadTimeout):
            return Unreachable(f"The API server {self.server} took a request but did not answer it in time.")
        cause = _root_cause(e)
        if isinstance(cause, ConnectionRefusedError):
            return Unreachable(f"Nothing listens at {self.server} (connection refused).", refused=True)
        return Unreachable(f"{self.server} cannot be reached: {cause}.", "Check the address and the network.")

    # objects

    def resource(self, api_version: str | None, kind: str) -> Resource:
        """Where the API serves ``kind`` (of the built-in apiVersion when none is given)."""
        api_version = api_version or API_VERSIONS.get(kind)
        if not api_version:
            raise PlatformError(f"{kind} is not a built-in kind.", "Give its api_version too.")
        built_in = BUILT_IN.get((api_version, kind))
        return built_in or self._discover(api_version, kind)

    def _discover(self, api_version: str, kind: str) -> Resource:
        for fresh in (False, True):  # a CRD may have come since the list was read
            if fresh or api_version not in self._discovered:
                root = "/api/" if "/" not in api_version else "/apis/"
                try:
                    answer = self.call("GET", root + api_version, doing=f"list the kinds of {api_version}").json()
                except ApiError as e:
                    if e.status != 404:
                        raise
                    answer = {}
                self._discovered[api_version] = answer.get("resources", [])
            for item in self._discovered[api_version]:
                if item["kind"] == kind and "/" not in item["name"]:
                    return Resource(api_version, kind, item["name"], item["namespaced"])
        raise UnknownKind(
            f"The cluster does not know the kind {kind} of {api_version}.",
            "Correct apiVersion and kind, or apply the CustomResourceDefinition first.",
        )

    def get(self, kind: str, name: str, namespace: str | None = None, api_version: str | None = None) -> dict | None:
        """Read one object; None when it does not exist."""
        path = self.resource(api_version, kind).path(namespace, name)
        try:
            return self.call("GET", path, doing=f"read {ref(kind, name, namespace)}").json()
        except ApiError as e:
            if e.status == 404:
                return None
            raise

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        api_version: str | None = None,
    ) -> list[dict]:
        """Read a collection: of one namespace, or of all. ``labels`` and ``fields`` are selectors."""
        return self._list(self.resource(api_version, kind), namespace, labels, fields)["items"]

    def _list(self, resource: Resource, namespace: str | None, labels: str, fields: str) -> dict:
        query = {k: v for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v}
        answer = self.call("GET", resource.path(namespace), doing=f"list {resource.plural}", query=query).json()
        for item in answer["items"]:  # the API omits these two in lists
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return answer

    def create(self, obj: dict, dry_run: bool = False) -> dict:
        """Create an object; a dry run returns what the server would have stored. ``metadata.generateName`` works."""
        meta = obj["metadata"]
        path = self.resource(obj["apiVersion"], obj["kind"]).path(meta.get("namespace"))
        name = meta.get("name") or meta.get("generateName", "")
        query = {"fieldManager": FIELD_MANAGER, **_dry(dry_run)}
        doing = f"create {ref(obj['kind'], name, meta.get('namespace'))}"
        return self.call("POST", path, doing=doing, query=query, body=obj).json()

    def patch_apply(self, obj: dict, dry_run: bool = False) -> dict:
        """Server-side apply of an object, as the owner of its fields; returns the object as (it would be) stored.

        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        meta = obj["metadata"]
        path = self.resource(obj["apiVersion"], obj["kind"]).path(meta.get("namespace"), meta["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict", **_dry(dry_run)}
        doing = f"apply {ref(obj['kind'], meta['name'], meta.get('namespace'))}"
        # JSON is YAML: the media type's name is all that the API wants
        return self.call(
            "PATCH", path, doing=doing, query=query, body=obj, content_type="application/apply-patch+yaml"
        ).json()

    def patch(
        self, kind: str, name: str, body: dict, namespace: str | None = None, api_version: str | None = None
    ) -> dict:
        """JSON merge patch; with ``metadata.resourceVersion`` in the body, only of that version (else 409)."""
        path = self.resource(api_version, kind).path(namespace, name)
        return self.call(
            "PATCH",
            path,
            doing=f"change {ref(kind, name, namespace)}",
            query={"fieldManager": FIELD_MANAGER},
            body=body,
            content_type="application/merge-patch+json",
        ).json()

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        api_version: str | None = None,
        *,
        propagation: str = "Background",
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> bool:
        """Delete one object; False when it did not exist. With ``resource_version``, only that version of it."""
        body: dict = {"propagationPolicy": propagation}  # with a body, the API does not look at the query
        if dry_run:
            body["dryRun"] = ["All"]
        if resource_version:
            body["preconditions"] = {"resourceVersion": resource_version}
        path = self.resource(api_version, kind).path(namespace, name)
        try:
            self.call("DELETE", path, doing=f"delete {ref(kind, name, namespace)}", body=body)
        except ApiError as e:
            if e.status == 404:
                return False
            raise
        return True

    def watch(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        api_version: str | None = None,
        timeout: int = 300,
    ) -> Iterator[tuple[str, dict]]:
        """List, then watch, for about ``timeout`` seconds: yields (type, object), type as the API's (ADDED …).

        First comes one ("LISTED", {"items": […]}), and again whenever the watch had to start over.
        https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
        """
        from time import monotonic, sleep

        resource = self.resource(api_version, kind)
        query = {k: v for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v}
        query |= {"watch": "true", "allowWatchBookmarks": "true"}
        end = monotonic() + timeout
        version = ""
        while (left := int(end - monotonic())) > 0:
            if not version:
                listed = self._list(resource, namespace, labels, fields)
                version = listed["metadata"]["resourceVersion"]
                yield "LISTED", listed
            query |= {"resourceVersion": version, "timeoutSeconds": str(left)}
            opened, told = monotonic(), False
            try:
                for event in self._events(resource.path(namespace), query, left, resource.plural):
                    told = True
                    if event["type"] == "ERROR":  # nearly always 410 Gone: that version is no longer kept
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]
            except ApiError as e:
                if e.status != 410:
                    raise
                version = ""
            if not told and monotonic() - opened < 1:
                sleep(1)  # a server that hangs up at once is not to be hammered

    def _events(self, path: str, query: dict, seconds: int, plural: str) -> Iterator[dict]:
        exceptions = require("requests").exceptions
        response = self.call(
            "GET", path, doing=f"watch {plural}", query=query, stream=True, timeout=seconds + READ_TIMEOUT
        )
        with response:
            try:
                for line in response.iter_lines(chunk_size=None):
                    if line:
                        yield json.loads(line)
            except (exceptions.ChunkedEncodingError, exceptions.ConnectionError):
                return  # cut in the middle, as a restarting API server does: the caller goes on from the last version

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        tail: int = 20,
        previous: bool = False,
        seconds: int | None = None,
    ) -> str:
        """The last lines of a container's log (of the last ``seconds``); empty when there are none (yet)."""
        query = {"tailLines": str(tail)} | ({"container": container} if container else {})
        query |= {"previous": "true"} if previous else {}
        query |= {"sinceSeconds": str(seconds)} if seconds else {}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            return self.call("GET", path, doing=f"read the log of Pod {namespace}/{pod}", query=query).text.strip()
        except ApiError as e:
            if e.status in (400, 404, 500, 502):  # not started, gone, or its node does not answer
                return ""
            raise

    # the API server as a way to services and pods

    def service_proxy_url(self, namespace: str, scheme: str, service: str, port: int | str) -> str:
        """Base URL of a Service by way of the API server (it does not verify the service's certificate)."""
        return f"{self.server}/api/v1/namespaces/{namespace}/services/{scheme}:{service}:{port}/proxy"

    def pod_proxy_url(self, namespace: str, scheme: str, pod: str, port: int | str) -> str:
        """Base URL of one pod by way of the API server; reaches pods that are not ready too."""
        return f"{self.server}/api/v1/namespaces/{namespace}/pods/{scheme}:{pod}:{port}/proxy"

    def proxy(self, url: str, path: str = "/", method: str = "GET", timeout: float = READ_TIMEOUT, **request):
        """Send a request to ``path`` below a proxy ``url``; returns the requests.Response, whatever its status."""
        exceptions = require("requests").exceptions
        try:
            return self._session.request(method, url + path, timeout=(CONNECT_TIMEOUT, timeout), **request)
        except exceptions.RequestException as e:
            raise self._unreachable(e) from e


class UnknownKind(PlatformError):
    """The API server serves no such kind."""


def _dry(dry_run: bool) -> dict:
    return {"dryRun": "All"} if dry_run else {}


def _root_cause(e: BaseException) -> BaseException:
    """What lies at the bottom of requests' and urllib3's wrappers."""
    seen = e
    while True:
        reason = getattr(seen, "reason", None)
        inner = seen.__cause__ or seen.__context__ or (reason if isinstance(reason, BaseException) else None)
        if inner is None or inner is seen:
            return seen
        seen = inner
