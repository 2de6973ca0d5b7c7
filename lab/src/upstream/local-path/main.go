// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// The lab's counterpart of Rancher's local-path-provisioner: a volume is a directory on the node that its first
// consumer was scheduled to. A helper pod on that node makes the directory, and another removes it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v11/controller"
)

const (
	provisionerName = "rancher.io/local-path"
	hostnameLabel   = "kubernetes.io/hostname"
	helperStorage   = "/storage"
	helperPatience  = 2 * time.Minute
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "create":
		err = createDirectory(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "delete":
		err = os.RemoveAll(os.Args[2])
	default:
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "local-path-provisioner:", err)
		os.Exit(1)
	}
}

// createDirectory makes a volume's directory, open to every user, as the pod's user is not known here.
func createDirectory(path string) error {
	return errors.Join(os.MkdirAll(path, 0o777), os.Chmod(path, 0o777))
}

func serve() error {
	provisioner := &provisioner{
		storage:   os.Getenv("STORAGE_PATH"),
		image:     os.Getenv("HELPER_IMAGE"),
		namespace: os.Getenv("POD_NAMESPACE"),
	}
	if provisioner.storage == "" || provisioner.image == "" || provisioner.namespace == "" {
		return errors.New("the environment must have STORAGE_PATH, HELPER_IMAGE and POD_NAMESPACE")
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	if provisioner.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	controller.NewProvisionController(ctx, provisioner.client, provisionerName, provisioner,
		controller.LeaderElection(false)).Run(ctx)
	return nil
}

type provisioner struct {
	client                    kubernetes.Interface
	storage, image, namespace string
}

// Provision makes the directory of a new volume.
func (p *provisioner) Provision(ctx context.Context, options controller.ProvisionOptions) (
	*corev1.PersistentVolume, controller.ProvisioningState, error,
) {
	volume, err := p.newVolume(options)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := p.runHelper(ctx, "create", volume); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return volume, controller.ProvisioningFinished, nil
}

// Delete removes the directory of a volume, unless its node is gone.
func (p *provisioner) Delete(ctx context.Context, volume *corev1.PersistentVolume) error {
	node, err := nodeOf(volume)
	if err != nil {
		return err
	}
	nodes, err := p.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: hostnameLabel + "=" + node})
	if err != nil || len(nodes.Items) == 0 {
		return err
	}
	return p.runHelper(ctx, "delete", volume)
}

func (p *provisioner) newVolume(options controller.ProvisionOptions) (*corev1.PersistentVolume, error) {
	claim := options.PVC
	if claim.Spec.Selector != nil {
		return nil, errors.New("claim.Spec.Selector is not supported")
	}
	for _, mode := range claim.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return nil, fmt.Errorf("NodePath only supports ReadWriteOnce and ReadWriteOncePod access modes, not %s", mode)
		}
	}
	if options.SelectedNode == nil {
		return nil, errors.New("the storage class must have volumeBindingMode WaitForFirstConsumer")
	}
	kind := corev1.HostPathDirectoryOrCreate
	name := strings.Join([]string{options.PVName, claim.Namespace, claim.Name}, "_")
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(p.storage, name), Type: &kind},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: hostnameLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{options.SelectedNode.Labels[hostnameLabel]},
				}},
			}}}},
		},
	}, nil
}

func nodeOf(volume *corev1.PersistentVolume) (string, error) {
	if affinity := volume.Spec.NodeAffinity; affinity != nil && affinity.Required != nil {
		for _, term := range affinity.Required.NodeSelectorTerms {
			for _, expression := range term.MatchExpressions {
				if expression.Key == hostnameLabel && len(expression.Values) == 1 {
					return expression.Values[0], nil
				}
			}
		}
	}
	return "", fmt.Errorf("volume %s names no node", volume.Name)
}

// runHelper runs this program's image on the volume's node, with the storage directory of the node mounted.
func (p *provisioner) runHelper(ctx context.Context, action string, volume *corev1.PersistentVolume) error {
	node, err := nodeOf(volume)
	if err != nil {
		return err
	}
	pods := p.client.CoreV1().Pods(p.namespace)
	pod := p.helper(action, node, volume)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	defer func() {
		now := int64(0)
		_ = pods.Delete(context.WithoutCancel(ctx), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	}()
	err = wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, helperPatience, true, func(ctx context.Context) (bool, error) {
		current, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && current.Status.Phase == corev1.PodFailed {
			return false, errors.New("it failed")
		}
		return err == nil && current.Status.Phase == corev1.PodSucceeded, err
	})
	if err != nil {
		return fmt.Errorf("helper pod %s on node %s: %w", pod.Name, node, err)
	}
	return nil
}

func (p *provisioner) helper(action, node string, volume *corev1.PersistentVolume) *corev1.Pod {
	kind := corev1.HostPathDirectoryOrCreate
	directory := filepath.Base(volume.Spec.HostPath.Path)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "helper-pod-" + action + "-" + volume.Name, Namespace: p.namespace},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			NodeSelector:  map[string]string{hostnameLabel: node},
			Tolerations:   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name:            "helper-pod",
				Image:           p.image,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Args:            []string{action, filepath.Join(helperStorage, directory)},
				VolumeMounts:    []corev1.VolumeMount{{Name: "storage", MountPath: helperStorage}},
			}},
			Volumes: []corev1.Volume{{Name: "storage", VolumeSource: corev1.VolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: p.storage, Type: &kind},
			}}},
		},
	}
}
