// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"reflect"
	"slices"
	"time"
)

const loadBalancersEvery = 5 * time.Second

type ingressAddress struct {
	IP     string `json:"ip"`
	IPMode string `json:"ipMode"`
}

type service struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Type  string `json:"type"`
		Class string `json:"loadBalancerClass"`
	} `json:"spec"`
	Status struct {
		LoadBalancer struct {
			Ingress []ingressAddress `json:"ingress"`
		} `json:"loadBalancer"`
	} `json:"status"`
}

// keepLoadBalancers gives each Service of type LoadBalancer the addresses of the ready nodes; kube-proxy serves them there.
// K3s has pods with host ports for it (ServiceLB) and writes the same status.
func (s *server) keepLoadBalancers(ctx context.Context) {
	if slices.Contains(s.config.list("disable"), "servicelb") {
		return
	}
	for ctx.Err() == nil {
		if err := s.updateLoadBalancers(ctx); err != nil && ctx.Err() == nil {
			logWarn("Load balancers: %v", err)
		}
		pause(ctx, loadBalancersEvery)
	}
}

func (s *server) updateLoadBalancers(ctx context.Context) error {
	nodes, err := s.admin.nodes(ctx)
	if err != nil {
		return err
	}
	var services struct {
		Items []service `json:"items"`
	}
	if err := s.admin.get(ctx, "/api/v1/services", &services); err != nil {
		return err
	}
	wanted := addressesOf(nodes)
	for _, service := range services.Items {
		if service.Spec.Type != "LoadBalancer" || service.Spec.Class != "" ||
			reflect.DeepEqual(service.Status.LoadBalancer.Ingress, wanted) {
			continue
		}
		path := "/api/v1/namespaces/" + service.Metadata.Namespace + "/services/" + service.Metadata.Name + "/status"
		if err := s.admin.patch(ctx, path, doc{"status": doc{"loadBalancer": doc{"ingress": wanted}}}); err != nil {
			return err
		}
	}
	return nil
}

func addressesOf(nodes []node) []ingressAddress {
	var addresses []ingressAddress
	for _, node := range nodes {
		address := node.address("ExternalIP")
		if address == "" {
			address = node.address("InternalIP")
		}
		if node.ready() && address != "" {
			addresses = append(addresses, ingressAddress{address, "VIP"})
		}
	}
	return addresses
}
