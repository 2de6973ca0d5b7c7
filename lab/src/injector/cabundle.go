// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"time"
)

const (
	recheck    = time.Hour
	minBackoff = time.Second
	maxBackoff = time.Minute
)

// bundleKeeper keeps the CA in the caBundle of a MutatingWebhookConfiguration, whoever changes it.
type bundleKeeper struct {
	api     *kubeAPI
	name    string
	ca      []byte // PEM
	log     *slog.Logger
	patched func() // called each time the CA is known to be in the bundle
}

// run lists, patches and watches until ctx ends. A watch ends after `recheck`, so the whole is checked that often.
func (k *bundleKeeper) run(ctx context.Context) {
	backoff := minBackoff
	for {
		err := k.follow(ctx)
		if err != nil && ctx.Err() == nil {
			k.log.Error("Error updating MutatingWebhookConfiguration: "+err.Error(), "retry", backoff)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		if backoff = min(2*backoff, maxBackoff); err == nil {
			backoff = minBackoff
		}
	}
}

func (k *bundleKeeper) follow(ctx context.Context) error {
	list, err := k.api.listWebhookConfig(ctx, k.name)
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		k.log.Warn("waiting for the MutatingWebhookConfiguration", "name", k.name)
	}
	for _, item := range list.Items {
		if err := k.ensure(ctx, item); err != nil {
			return err
		}
	}
	return k.api.watchWebhookConfig(ctx, k.name, list.Metadata.ResourceVersion, recheck, func(config webhookConfig) error {
		return k.ensure(ctx, config)
	})
}

func (k *bundleKeeper) ensure(ctx context.Context, config webhookConfig) error {
	if len(config.Webhooks) == 0 {
		return fmt.Errorf("%s has no webhooks", k.name)
	}
	current := config.Webhooks[0].ClientConfig.CABundle
	if !bytes.Contains(current, k.ca) {
		if err := k.api.patchCABundle(ctx, k.name, nextBundle(current, k.ca)); err != nil {
			return err
		}
		k.log.Info("patched caBundle", "name", k.name)
	}
	k.patched()
	return nil
}

// nextBundle is the last certificate of the old bundle, so that the pod it belongs to stays trusted, and the own CA.
func nextBundle(old, ca []byte) []byte {
	var last []byte
	for {
		block, rest := pem.Decode(old)
		if block == nil {
			return append(last, ca...)
		}
		last, old = pem.EncodeToMemory(block), rest
	}
}
