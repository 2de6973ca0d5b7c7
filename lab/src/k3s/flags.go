// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

type flagKind int

const (
	stringFlag flagKind = iota
	boolFlag
	intFlag
	listFlag
)

// A flag is one key of K3s's configuration (docs.k3s.io/cli/server and /cli/agent).
type flag struct {
	kind       flagKind
	serverOnly bool
	ignored    bool // accepted, without effect in the stand-in
	env        string
	byDefault  string
}

func (f flag) allowedIn(command string) bool { return command == "server" || !f.serverOnly }

var shortFlags = map[string]string{"c": "config", "t": "token", "s": "server", "d": "data-dir"}

var flags = map[string]flag{
	"config":                            {},
	"token":                             {env: "K3S_TOKEN"},
	"token-file":                        {env: "K3S_TOKEN_FILE"},
	"agent-token":                       {serverOnly: true, env: "K3S_AGENT_TOKEN"},
	"agent-token-file":                  {serverOnly: true, env: "K3S_AGENT_TOKEN_FILE"},
	"server":                            {env: "K3S_URL"},
	"cluster-init":                      {kind: boolFlag, serverOnly: true, env: "K3S_CLUSTER_INIT"},
	"cluster-reset":                     {kind: boolFlag, serverOnly: true, env: "K3S_CLUSTER_RESET"},
	"cluster-reset-restore-path":        {serverOnly: true},
	"data-dir":                          {env: "K3S_DATA_DIR", byDefault: "/var/lib/rancher/k3s"},
	"tls-san":                           {kind: listFlag, serverOnly: true},
	"tls-san-security":                  {kind: boolFlag, serverOnly: true, ignored: true},
	"bind-address":                      {},
	"https-listen-port":                 {kind: intFlag, serverOnly: true, byDefault: "6443"},
	"advertise-address":                 {serverOnly: true},
	"advertise-port":                    {kind: intFlag, serverOnly: true, ignored: true},
	"node-name":                         {env: "K3S_NODE_NAME"},
	"with-node-id":                      {kind: boolFlag, ignored: true},
	"node-ip":                           {kind: listFlag},
	"node-external-ip":                  {kind: listFlag},
	"node-internal-dns":                 {kind: listFlag, ignored: true},
	"node-external-dns":                 {kind: listFlag, ignored: true},
	"node-label":                        {kind: listFlag},
	"node-taint":                        {kind: listFlag},
	"write-kubeconfig":                  {serverOnly: true, env: "K3S_KUBECONFIG_OUTPUT"},
	"write-kubeconfig-mode":             {serverOnly: true, env: "K3S_KUBECONFIG_MODE"},
	"write-kubeconfig-group":            {serverOnly: true, ignored: true, env: "K3S_KUBECONFIG_GROUP"},
	"disable":                           {kind: listFlag, serverOnly: true},
	"disable-kube-proxy":                {kind: boolFlag, serverOnly: true},
	"disable-scheduler":                 {kind: boolFlag, serverOnly: true, ignored: true},
	"disable-cloud-controller":          {kind: boolFlag, serverOnly: true, ignored: true},
	"disable-network-policy":            {kind: boolFlag, serverOnly: true, ignored: true},
	"disable-helm-controller":           {kind: boolFlag, serverOnly: true, ignored: true},
	"disable-agent":                     {kind: boolFlag, serverOnly: true, ignored: true},
	"disable-apiserver":                 {kind: boolFlag, serverOnly: true, ignored: true},
	"disable-controller-manager":        {kind: boolFlag, serverOnly: true, ignored: true},
	"disable-etcd":                      {kind: boolFlag, serverOnly: true, ignored: true},
	"flannel-backend":                   {serverOnly: true, ignored: true},
	"flannel-ipv6-masq":                 {kind: boolFlag, serverOnly: true, ignored: true},
	"flannel-external-ip":               {kind: boolFlag, serverOnly: true, ignored: true},
	"flannel-iface":                     {ignored: true},
	"flannel-conf":                      {ignored: true},
	"flannel-cni-conf":                  {ignored: true},
	"cluster-cidr":                      {serverOnly: true, byDefault: "10.42.0.0/16"},
	"service-cidr":                      {serverOnly: true, byDefault: "10.43.0.0/16"},
	"cluster-dns":                       {serverOnly: true},
	"cluster-domain":                    {serverOnly: true, byDefault: "cluster.local"},
	"service-node-port-range":           {serverOnly: true, byDefault: "30000-32767"},
	"egress-selector-mode":              {serverOnly: true, ignored: true},
	"servicelb-namespace":               {serverOnly: true, ignored: true},
	"helm-job-image":                    {serverOnly: true, ignored: true},
	"helm-controller-arg":               {kind: listFlag, serverOnly: true, ignored: true},
	"datastore-endpoint":                {serverOnly: true, ignored: true, env: "K3S_DATASTORE_ENDPOINT"},
	"datastore-cafile":                  {serverOnly: true, ignored: true, env: "K3S_DATASTORE_CAFILE"},
	"datastore-certfile":                {serverOnly: true, ignored: true, env: "K3S_DATASTORE_CERTFILE"},
	"datastore-keyfile":                 {serverOnly: true, ignored: true, env: "K3S_DATASTORE_KEYFILE"},
	"secrets-encryption":                {kind: boolFlag, serverOnly: true},
	"secrets-encryption-provider":       {serverOnly: true, ignored: true},
	"kube-apiserver-arg":                {kind: listFlag, serverOnly: true},
	"kube-controller-manager-arg":       {kind: listFlag, serverOnly: true},
	"kube-scheduler-arg":                {kind: listFlag, serverOnly: true},
	"etcd-arg":                          {kind: listFlag, serverOnly: true},
	"kube-cloud-controller-manager-arg": {kind: listFlag, serverOnly: true, ignored: true},
	"kubelet-arg":                       {kind: listFlag},
	"kube-proxy-arg":                    {kind: listFlag},
	"etcd-disable-snapshots":            {kind: boolFlag, serverOnly: true, ignored: true},
	"etcd-snapshot-compress":            {kind: boolFlag, serverOnly: true, ignored: true},
	"etcd-expose-metrics":               {kind: boolFlag, serverOnly: true, ignored: true},
	"etcd-snapshot-name":                {serverOnly: true, ignored: true},
	"etcd-snapshot-schedule-cron":       {serverOnly: true, ignored: true},
	"etcd-snapshot-dir":                 {serverOnly: true, ignored: true},
	"etcd-snapshot-retention":           {kind: intFlag, serverOnly: true, ignored: true},
	"etcd-s3":                           {kind: boolFlag, serverOnly: true, ignored: true},
	"etcd-s3-skip-ssl-verify":           {kind: boolFlag, serverOnly: true, ignored: true},
	"etcd-s3-insecure":                  {kind: boolFlag, serverOnly: true, ignored: true},
	"etcd-s3-endpoint":                  {serverOnly: true, ignored: true},
	"etcd-s3-endpoint-ca":               {serverOnly: true, ignored: true},
	"etcd-s3-bucket":                    {serverOnly: true, ignored: true},
	"etcd-s3-region":                    {serverOnly: true, ignored: true},
	"etcd-s3-folder":                    {serverOnly: true, ignored: true},
	"etcd-s3-proxy":                     {serverOnly: true, ignored: true},
	"etcd-s3-timeout":                   {serverOnly: true, ignored: true},
	"etcd-s3-config-secret":             {serverOnly: true, ignored: true},
	"etcd-s3-retention":                 {kind: intFlag, serverOnly: true, ignored: true},
	"etcd-s3-access-key":                {serverOnly: true, ignored: true, env: "AWS_ACCESS_KEY_ID"},
	"etcd-s3-secret-key":                {serverOnly: true, ignored: true, env: "AWS_SECRET_ACCESS_KEY"},
	"embedded-registry":                 {kind: boolFlag, serverOnly: true, ignored: true},
	"supervisor-metrics":                {kind: boolFlag, serverOnly: true, ignored: true},
	"system-default-registry":           {serverOnly: true, ignored: true, env: "K3S_SYSTEM_DEFAULT_REGISTRY"},
	"private-registry":                  {ignored: true},
	"snapshotter":                       {ignored: true},
	"default-runtime":                   {ignored: true},
	"container-runtime-endpoint":        {ignored: true},
	"image-service-endpoint":            {ignored: true},
	"pause-image":                       {byDefault: "lab.cloudcart.local/pause:3.10.1"},
	"disable-default-registry-endpoint": {kind: boolFlag, ignored: true},
	"docker":                            {kind: boolFlag, ignored: true},
	"nonroot-devices":                   {kind: boolFlag, ignored: true},
	"rootless":                          {kind: boolFlag, ignored: true},
	"prefer-bundled-bin":                {kind: boolFlag, ignored: true},
	"enable-pprof":                      {kind: boolFlag, ignored: true},
	"debug":                             {kind: boolFlag, ignored: true},
	"alsologtostderr":                   {kind: boolFlag, ignored: true},
	"selinux":                           {kind: boolFlag, ignored: true, env: "K3S_SELINUX"},
	"protect-kernel-defaults":           {kind: boolFlag},
	"default-local-storage-path":        {serverOnly: true},
	"resolv-conf":                       {env: "K3S_RESOLV_CONF"},
	"lb-server-port":                    {kind: intFlag, ignored: true, env: "K3S_LB_SERVER_PORT"},
	"vpn-auth":                          {ignored: true},
	"vpn-auth-file":                     {ignored: true},
	"image-credential-provider-bin-dir": {ignored: true},
	"image-credential-provider-config":  {ignored: true},
	"vmodule":                           {ignored: true},
	"log":                               {ignored: true},
	"v":                                 {kind: intFlag, ignored: true},
}
