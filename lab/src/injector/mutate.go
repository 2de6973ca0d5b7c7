// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
)

const secretsVolume = "vault-secrets"

// operation is one step of a JSON Patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// operations turn the pod into the injected pod, in the product's order.
func (a *agent) operations() ([]operation, error) {
	spec := &a.pod.Spec
	ops := appendAll("/spec/volumes", len(spec.Volumes), a.volumes())

	chosen := a.list("agent-inject-containers")
	for i, container := range spec.Containers {
		if len(chosen) == 0 || slices.Contains(chosen, container.Name) {
			ops = append(ops, a.mountSecrets(fmt.Sprintf("/spec/containers/%d", i), container)...)
		}
	}

	if a.withInit {
		initContainer, err := a.container(true)
		if err != nil {
			return nil, err
		}
		others, firstOther := spec.InitContainers, 0
		if a.initFirst {
			if len(others) > 0 {
				ops = append(ops, operation{Op: "remove", Path: "/spec/initContainers"})
			}
			ops = append(ops, appendAll("/spec/initContainers", 0, append([]core.Container{initContainer}, others...))...)
			firstOther = 1
		} else {
			ops = append(ops, appendAll("/spec/initContainers", len(others), []core.Container{initContainer})...)
		}
		for i, container := range others {
			ops = append(ops, a.mountSecrets(fmt.Sprintf("/spec/initContainers/%d", firstOther+i), container)...)
		}
		if a.shareProcesses != nil {
			ops = append(ops, operation{Op: "add", Path: "/spec/shareProcessNamespace", Value: *a.shareProcesses})
		}
	}
	if a.withSidecar {
		sidecar, err := a.container(false)
		if err != nil {
			return nil, err
		}
		ops = append(ops, appendAll("/spec/containers", len(spec.Containers), []core.Container{sidecar})...)
	}
	status := strings.ReplaceAll(annotationPrefix, "/", "~1") + "agent-inject-status"
	return append(ops, operation{Op: "add", Path: "/metadata/annotations/" + status, Value: "injected"}), nil
}

// appendAll appends items to the list at path, which has `present` elements and does not exist if it has none.
func appendAll[T any](path string, present int, items []T) []operation {
	var ops []operation
	for i, item := range items {
		if present == 0 && i == 0 {
			ops = append(ops, operation{Op: "add", Path: path, Value: []T{item}})
		} else {
			ops = append(ops, operation{Op: "add", Path: path + "/-", Value: item})
		}
	}
	return ops
}

func (a *agent) mountSecrets(path string, container core.Container) []operation {
	return appendAll(path+"/volumeMounts", len(container.VolumeMounts), a.secretMounts())
}

// customPaths are the places of secrets outside the common volume.
func (a *agent) customPaths() []string {
	var paths []string
	for _, s := range a.secrets {
		if s.mountPath != a.annotations["secret-volume-path"] && !slices.Contains(paths, s.mountPath) {
			paths = append(paths, s.mountPath)
		}
	}
	return paths
}

func (a *agent) secretMounts() []core.VolumeMount {
	mounts := []core.VolumeMount{{Name: secretsVolume, MountPath: a.annotations["secret-volume-path"]}}
	for i, path := range a.customPaths() {
		mounts = append(mounts, core.VolumeMount{Name: customVolume(i), MountPath: path})
	}
	return mounts
}

func customVolume(index int) string { return fmt.Sprintf("%s-custom-%d", secretsVolume, index) }

func (a *agent) volumes() []core.Volume {
	memory := func(name string) core.Volume {
		return core.Volume{Name: name, VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{Medium: core.StorageMediumMemory}}}
	}
	var volumes []core.Volume
	if a.withInit {
		volumes = append(volumes, memory("home-init"))
	}
	if a.withSidecar {
		volumes = append(volumes, memory("home-sidecar"))
	}
	volumes = append(volumes, memory(secretsVolume))
	for i := range a.customPaths() {
		volumes = append(volumes, memory(customVolume(i)))
	}
	for _, extra := range a.extraVolumes() {
		volumes = append(volumes, extra.volume)
	}
	return volumes
}

// extraVolume is a volume that only the agent's containers mount.
type extraVolume struct {
	volume core.Volume
	path   string
}

func (a *agent) extraVolumes() []extraVolume {
	var extras []extraVolume
	add := func(volume, path string, source core.VolumeSource) {
		extras = append(extras, extraVolume{core.Volume{Name: volume, VolumeSource: source}, path})
	}
	if name := a.annotations["agent-configmap"]; name != "" {
		add("vault-config", configDir, core.VolumeSource{ConfigMap: &core.ConfigMapVolumeSource{LocalObjectReference: core.LocalObjectReference{Name: name}}})
	}
	if name := a.annotations["agent-extra-secret"]; name != "" {
		add("extra-secrets", "/vault/custom", core.VolumeSource{Secret: &core.SecretVolumeSource{SecretName: name}})
	}
	if name := a.annotations["tls-secret"]; name != "" {
		add("vault-tls-secrets", "/vault/tls", core.VolumeSource{Secret: &core.SecretVolumeSource{SecretName: name}})
	}
	return extras
}

// copiedMounts are the mounts of the container that agent-copy-volume-mounts names, without its account token.
func (a *agent) copiedMounts() []core.VolumeMount {
	var mounts []core.VolumeMount
	for _, container := range a.pod.Spec.Containers {
		if container.Name != a.annotations["agent-copy-volume-mounts"] {
			continue
		}
		for _, mount := range container.VolumeMounts {
			if !strings.Contains(mount.MountPath, "serviceaccount") {
				mounts = append(mounts, mount)
			}
		}
	}
	return mounts
}
