// Package charts tests the lab's charts: it renders them with Helm's own engine.
//
// SPDX-License-Identifier: GPL-3.0-or-later
package charts

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/strvals"
	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const external = "server.enabled=false,global.externalVaultAddr=http://vault:8200"

// object of each kind that the chart may have; rendering fails on a field that the kind does not know.
func newObject(kind string) any {
	switch kind {
	case "ServiceAccount":
		return &core.ServiceAccount{}
	case "Service":
		return &core.Service{}
	case "Secret":
		return &core.Secret{}
	case "Deployment":
		return &apps.Deployment{}
	case "MutatingWebhookConfiguration":
		return &admission.MutatingWebhookConfiguration{}
	case "ClusterRole":
		return &rbac.ClusterRole{}
	case "ClusterRoleBinding":
		return &rbac.ClusterRoleBinding{}
	case "Role":
		return &rbac.Role{}
	case "RoleBinding":
		return &rbac.RoleBinding{}
	case "PodDisruptionBudget":
		return &policy.PodDisruptionBudget{}
	}
	return nil
}

// render gives the objects of a release by "Kind/name".
func render(release string, sets ...string) (map[string]any, error) {
	chart, err := loader.Load("../../../charts/vault")
	if err != nil {
		return nil, err
	}
	given := map[string]any{}
	for _, set := range sets {
		if err := strvals.ParseInto(set, given); err != nil {
			return nil, err
		}
	}
	values, err := chartutil.ToRenderValues(chart, given, chartutil.ReleaseOptions{Name: release, Namespace: "cloudcart", IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return nil, err
	}
	objects := map[string]any{}
	for file, text := range files {
		if strings.HasSuffix(file, "NOTES.txt") {
			continue
		}
		for _, document := range releaseutil.SplitManifests(text) {
			var head releaseutil.SimpleHead
			if err := yaml.Unmarshal([]byte(document), &head); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", file, err, document)
			}
			if head.Kind == "" {
				continue
			}
			object := newObject(head.Kind)
			if object == nil {
				return nil, fmt.Errorf("%s: unexpected kind %s", file, head.Kind)
			}
			if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", file, err, document)
			}
			objects[head.Kind+"/"+head.Metadata.Name] = object
		}
	}
	return objects, nil
}

func mustRender(t *testing.T, release string, sets ...string) map[string]any {
	t.Helper()
	objects, err := render(release, sets...)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func injectorObjects(fullname string) []string {
	var names []string
	for _, name := range []string{
		"ServiceAccount/%s-agent-injector", "Deployment/%s-agent-injector", "Service/%s-agent-injector-svc",
		"MutatingWebhookConfiguration/%s-agent-injector-cfg", "ClusterRole/%s-agent-injector-clusterrole", "ClusterRoleBinding/%s-agent-injector-binding",
	} {
		names = append(names, fmt.Sprintf(name, fullname))
	}
	return names
}

func TestTheDoubleNotTheProductRendersTheObjectsOfTheContract(t *testing.T) {
	account, delegator := "ServiceAccount/vault", "ClusterRoleBinding/vault-server-binding"
	leader := []string{
		"Secret/vault-injector-certs", "Role/vault-agent-injector-leader-elector-role", "RoleBinding/vault-agent-injector-leader-elector-binding",
	}
	cases := []struct {
		release, set string
		want         []string
	}{
		{"vault", external, append(injectorObjects("vault"), account, delegator)},
		{"vault", "injector.externalVaultAddr=http://vault:8200", append(injectorObjects("vault"), account, delegator)},
		{"vault", "server.enabled=false", append(injectorObjects("vault"), account, delegator)},
		{"sec", external, append(injectorObjects("sec-vault"), "ServiceAccount/sec-vault", "ClusterRoleBinding/sec-vault-server-binding")},
		{"my-vault", external + ",fullnameOverride=v", append(injectorObjects("v"), "ServiceAccount/v", "ClusterRoleBinding/v-server-binding")},
		{"vault", external + ",server.serviceAccount.create=false", injectorObjects("vault")},
		{"vault", external + ",server.serviceAccount.create=false,server.serviceAccount.name=own", append(injectorObjects("vault"), delegator)},
		{"vault", external + ",server.authDelegator.enabled=false", append(injectorObjects("vault"), account)},
		{"vault", external + ",server.serviceAccount.createSecret=true", append(injectorObjects("vault"), account, delegator, "Secret/vault-token")},
		{"vault", external + ",global.enabled=false,injector.enabled=true", injectorObjects("vault")},
		{"vault", external + ",injector.enabled=false", []string{account, delegator}},
		{"vault", external + ",injector.replicas=2", append(append(injectorObjects("vault"), account, delegator), leader...)},
		{"vault", external + ",injector.replicas=2,injector.leaderElector.enabled=false", append(injectorObjects("vault"), account, delegator)},
		{"vault", external + ",injector.enabled=false,injector.podDisruptionBudget.minAvailable=1", []string{account, delegator, "PodDisruptionBudget/vault-agent-injector"}},
	}
	for _, c := range cases {
		t.Run(c.release+" "+c.set, func(t *testing.T) {
			got := slices.Sorted(maps.Keys(mustRender(t, c.release, c.set)))
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("rendered\n%v\ninstead of\n%v", got, c.want)
			}
		})
	}
}

func TestWhatTheDoubleLacksIsRefused(t *testing.T) {
	for set, text := range map[string]string{
		"global.enabled=true":               "has no Vault server",
		"server.enabled=true":               "has no Vault server",
		external + ",csi.enabled=true":      "has no CSI provider",
		external + ",injector.port=web":     "got string, want integer",
		external + ",global.openshift=true": "does not know OpenShift",
	} {
		if _, err := render("vault", set); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", set, err)
		}
	}
}

func TestWebhook(t *testing.T) {
	webhooks := mustRender(t, "sec", external)["MutatingWebhookConfiguration/sec-vault-agent-injector-cfg"].(*admission.MutatingWebhookConfiguration).Webhooks
	if len(webhooks) != 1 {
		t.Fatalf("%d webhooks", len(webhooks))
	}
	var want admission.MutatingWebhook
	if err := yaml.UnmarshalStrict([]byte(`
name: vault.hashicorp.com
failurePolicy: Ignore
matchPolicy: Exact
sideEffects: None
timeoutSeconds: 30
admissionReviewVersions: [v1, v1beta1]
clientConfig:
  service: {name: sec-vault-agent-injector-svc, namespace: cloudcart, path: /mutate}
  caBundle: ""
rules:
  - {operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods], scope: Namespaced}
objectSelector:
  matchExpressions:
    - {key: app.kubernetes.io/name, operator: NotIn, values: [vault-agent-injector]}
`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(webhooks[0], want) {
		t.Errorf("%+v", webhooks[0])
	}

	changed := mustRender(t, "vault", external,
		"injector.webhook.failurePolicy=Fail,injector.failurePolicy=Ignore,injector.webhook.timeoutSeconds=5",
		"injector.namespaceSelector.matchLabels.inject=yes,injector.webhook.annotations.a=b,injector.certs.caBundle=Q0E=",
	)["MutatingWebhookConfiguration/vault-agent-injector-cfg"].(*admission.MutatingWebhookConfiguration)
	webhook := changed.Webhooks[0]
	if *webhook.FailurePolicy != admission.Fail || *webhook.TimeoutSeconds != 5 || webhook.NamespaceSelector.MatchLabels["inject"] != "yes" ||
		changed.Annotations["a"] != "b" || string(webhook.ClientConfig.CABundle) != "CA" {
		t.Errorf("%+v", changed)
	}
}

func deployment(t *testing.T, sets ...string) (*apps.Deployment, map[string]string) {
	t.Helper()
	found := mustRender(t, "vault", sets...)["Deployment/vault-agent-injector"].(*apps.Deployment)
	env := map[string]string{}
	for _, variable := range found.Spec.Template.Spec.Containers[0].Env {
		env[variable.Name] = variable.Value
	}
	return found, env
}

func TestDeployment(t *testing.T) {
	found, env := deployment(t, external)
	labels := map[string]string{"app.kubernetes.io/name": "vault-agent-injector", "app.kubernetes.io/instance": "vault", "component": "webhook"}
	if !maps.Equal(found.Spec.Selector.MatchLabels, labels) || !maps.Equal(found.Spec.Template.Labels, labels) {
		t.Errorf("selector %v, pod labels %v", found.Spec.Selector.MatchLabels, found.Spec.Template.Labels)
	}
	if found.Labels["app.kubernetes.io/managed-by"] != "Helm" || found.Labels["lab.cloudcart.local/standin"] != "injector" {
		t.Errorf("labels %v", found.Labels)
	}
	wantEnv := map[string]string{
		"AGENT_INJECT_LISTEN": ":8080", "AGENT_INJECT_LOG_LEVEL": "info", "AGENT_INJECT_LOG_FORMAT": "standard",
		"AGENT_INJECT_VAULT_ADDR": "http://vault:8200", "AGENT_INJECT_VAULT_AUTH_PATH": "auth/kubernetes",
		"AGENT_INJECT_VAULT_IMAGE": "hashicorp/vault:2.0.4", "AGENT_INJECT_REVOKE_ON_SHUTDOWN": "false",
		"AGENT_INJECT_CPU_REQUEST": "250m", "AGENT_INJECT_CPU_LIMIT": "500m", "AGENT_INJECT_MEM_REQUEST": "64Mi", "AGENT_INJECT_MEM_LIMIT": "128Mi",
		"AGENT_INJECT_DEFAULT_TEMPLATE": "map", "AGENT_INJECT_TEMPLATE_CONFIG_EXIT_ON_RETRY_FAILURE": "true", "POD_NAME": "",
		"AGENT_INJECT_TLS_AUTO":       "vault-agent-injector-cfg",
		"AGENT_INJECT_TLS_AUTO_HOSTS": "vault-agent-injector-svc,vault-agent-injector-svc.cloudcart,vault-agent-injector-svc.cloudcart.svc",
	}
	if !maps.Equal(env, wantEnv) {
		t.Errorf("environment %v", env)
	}
	pod := found.Spec.Template.Spec
	container := pod.Containers[0]
	if container.Name != "sidecar-injector" || container.Image != "hashicorp/vault-k8s:1.7.6" || !slices.Equal(container.Args, []string{"agent-inject", "2>&1"}) {
		t.Errorf("%+v", container)
	}
	if pod.ServiceAccountName != "vault-agent-injector" || !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser != 100 || *pod.SecurityContext.FSGroup != 1000 {
		t.Errorf("%+v", pod)
	}
	if len(pod.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) != 1 {
		t.Errorf("affinity %+v", pod.Affinity)
	}
	for name, probe := range map[string]*core.Probe{"liveness": container.LivenessProbe, "readiness": container.ReadinessProbe, "startup": container.StartupProbe} {
		if probe == nil || probe.HTTPGet.Path != "/health/ready" || probe.HTTPGet.Scheme != core.URISchemeHTTPS || probe.HTTPGet.Port.IntValue() != 8080 || probe.TimeoutSeconds != 5 {
			t.Errorf("%s probe %+v", name, probe)
		}
	}
}

func TestDeploymentFollowsItsValues(t *testing.T) {
	found, env := deployment(t, external, "injector.affinity=null",
		"injector.certs.secretName=tls,injector.certs.certName=c.pem,injector.port=9443,injector.resources.limits.cpu=1,injector.metrics.enabled=true",
		"injector.extraEnvironmentVars.AGENT_INJECT_PROXY_ADDR=p,injector.extraLabels.x=y,injector.nodeSelector.disk=ssd,injector.strategy.type=Recreate",
		"injector.agentImage.repository=bao,injector.agentImage.tag=v2,injector.image.repository=i,injector.image.tag=v1,injector.image.pullPolicy=Never",
		"injector.agentDefaults.cpuLimit=750m,global.imagePullSecrets={a},injector.securityContext.container.privileged=true,injector.uid=7",
		`injector.tolerations=- key: {{ .Release.Name }}`,
	)
	pod := found.Spec.Template.Spec
	container := pod.Containers[0]
	_, auto := env["AGENT_INJECT_TLS_AUTO"]
	if auto || env["AGENT_INJECT_TLS_CERT_FILE"] != "/etc/webhook/certs/c.pem" || env["AGENT_INJECT_TLS_KEY_FILE"] != "/etc/webhook/certs/tls.key" ||
		env["AGENT_INJECT_TELEMETRY_PATH"] != "/metrics" || env["AGENT_INJECT_PROXY_ADDR"] != "p" || env["AGENT_INJECT_LISTEN"] != ":9443" ||
		env["AGENT_INJECT_VAULT_IMAGE"] != "bao:v2" || env["AGENT_INJECT_CPU_LIMIT"] != "750m" {
		t.Errorf("environment %v", env)
	}
	if pod.Affinity != nil || pod.Volumes[0].Secret.SecretName != "tls" || container.VolumeMounts[0].MountPath != "/etc/webhook/certs" ||
		container.Resources.Limits.Cpu().String() != "1" || found.Spec.Template.Labels["x"] != "y" || pod.NodeSelector["disk"] != "ssd" ||
		found.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType || container.Image != "i:v1" || container.ImagePullPolicy != core.PullNever ||
		pod.ImagePullSecrets[0].Name != "a" || !*container.SecurityContext.Privileged || *pod.SecurityContext.RunAsUser != 7 || pod.Tolerations[0].Key != "vault" {
		t.Errorf("%+v", found)
	}

	_, env = deployment(t, external, "injector.replicas=2")
	if env["AGENT_INJECT_USE_LEADER_ELECTOR"] != "true" {
		t.Errorf("two replicas without leader election: %v", env)
	}
	_, env = deployment(t, "server.enabled=false,global.tlsDisable=false")
	if env["AGENT_INJECT_VAULT_ADDR"] != "https://vault.cloudcart.svc:8200" {
		t.Errorf("in-cluster address %v", env["AGENT_INJECT_VAULT_ADDR"])
	}
}
