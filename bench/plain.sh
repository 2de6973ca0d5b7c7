#!/bin/sh
# What the guide does by hand, in its order: one step after the other, each waited for with kubectl, without a pause. It
# runs on the machine, beside the rendered manifests (manifests/), the artifacts (artifacts/) and helm.
set -eu
ns=cloudcart
apply() { kubectl apply --server-side -f "$1" >/dev/null; }
ready() { kubectl -n $ns rollout status --timeout=300s "$1" >/dev/null; }
phase() { echo "PHASE $1"; }

phase K3s
install -m 0755 artifacts/k3s /usr/local/bin/k3s
ln -sf k3s /usr/local/bin/kubectl
mkdir -p /var/lib/rancher/k3s/agent/images /etc/rancher/k3s
mv artifacts/images/* /var/lib/rancher/k3s/agent/images/
cat >/etc/systemd/system/k3s.service <<'UNIT'
[Service]
Type=notify
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
TimeoutStartSec=0
ExecStart=/usr/local/bin/k3s server
UNIT
systemctl daemon-reload
systemctl start k3s
until kubectl get nodes 2>/dev/null | grep -q .; do :; done
kubectl wait --for=condition=Ready node --all --timeout=120s >/dev/null
export KUBECONFIG=/etc/rancher/k3s/k3s.yaml

phase injector
kubectl create namespace $ns >/dev/null
./helm upgrade --install vault artifacts/chart.tgz --namespace $ns --values manifests/vault-chart-values.yaml >/dev/null
ready deployment/vault-agent-injector

phase Vault
kubectl -n $ns create secret generic vault-root-token --from-literal=token=root >/dev/null
apply manifests/vault.yaml
ready statefulset/vault
vault() { kubectl -n $ns exec -i vault-0 -c vault -- env BAO_ADDR=http://127.0.0.1:8200 BAO_TOKEN=root bao "$@" >/dev/null; }
vault auth enable kubernetes
vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc
vault secrets enable -path=cloudcart kv-v2
vault kv put cloudcart/database postgres_user=cloudcart postgres_password=plain postgres_db=cloudcart \
    database_url="postgresql://cloudcart:plain@postgres.$ns.svc.cluster.local:5432/cloudcart?sslmode=disable"
vault kv put cloudcart/jwt secret=plain
vault kv put cloudcart/kafka bootstrap_servers=kafka.$ns.svc.cluster.local:9092
vault kv put cloudcart/redis url=redis://redis.$ns.svc.cluster.local:6379
echo 'path "cloudcart/data/*" { capabilities = ["read"] }' | vault policy write app-policy -
for name in postgres api-gateway user-service product-service order-service notification-worker; do
    vault write auth/kubernetes/role/$name bound_service_account_names=$name bound_service_account_namespaces=$ns \
        policies=app-policy ttl=24h
done

phase PostgreSQL
apply manifests/postgresql.yaml
ready statefulset/postgres
kubectl -n $ns wait --for=condition=complete job -l app=postgres-schema --timeout=300s >/dev/null

phase Kafka
apply manifests/kafka.yaml
ready statefulset/zookeeper
ready statefulset/kafka

phase Redis
apply manifests/redis.yaml
ready deployment/redis

phase services
apply manifests/apps.yaml
for name in user-service product-service order-service notification-worker chaos-service metrics-generator api-gateway frontend; do
    ready deployment/$name
done

phase monitoring
apply manifests/monitoring.yaml
ready statefulset/prometheus

phase ingress
apply manifests/ingress.yaml

phase done
