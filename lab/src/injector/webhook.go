// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	admission "k8s.io/api/admission/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const maxBody = 4 << 20 // above the API server's own limit for an object

type handler struct {
	cfg     settings
	log     *slog.Logger
	metrics metrics
}

func newHandler(cfg settings, log *slog.Logger) http.Handler {
	h := &handler{cfg: cfg, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("/mutate", h.mutate)
	mux.HandleFunc("/health/ready", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if cfg.telemetryPath != "" {
		mux.HandleFunc(cfg.telemetryPath, h.metrics.serve)
	}
	return mux
}

func (h *handler) mutate(w http.ResponseWriter, r *http.Request) {
	defer h.metrics.track(time.Now())()
	h.log.Info("Request received", "method", r.Method, "url", r.URL.String())

	refuse := func(code int, text string) {
		h.log.Error("error on request", "error", text, "code", code)
		http.Error(w, text, code)
	}
	if contentType := r.Header.Get("Content-Type"); contentType != "application/json" {
		refuse(http.StatusBadRequest, fmt.Sprintf("Invalid content-type: %q", contentType))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(http.StatusBadRequest, fmt.Sprintf("error reading request body: %s", err))
		return
	}
	if len(body) == 0 {
		refuse(http.StatusBadRequest, "Empty request body")
		return
	}
	// v1 and v1beta1 have the same fields, so the answer in the request's own version is the same document.
	var review admission.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil || review.Kind != "AdmissionReview" ||
		(review.APIVersion != "admission.k8s.io/v1" && review.APIVersion != "admission.k8s.io/v1beta1") {
		refuse(http.StatusInternalServerError, fmt.Sprintf("error decoding admission request: %v", err))
		return
	}
	answer := admission.AdmissionReview{TypeMeta: review.TypeMeta, Response: h.admit(review.Request)}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		h.log.Error("error writing the response", "error", err)
	}
}

// admit decides on one request. A denial is an answer like any other: HTTP 200, allowed false.
func (h *handler) admit(request *admission.AdmissionRequest) *admission.AdmissionResponse {
	response := &admission.AdmissionResponse{UID: request.UID, Allowed: true}
	patch, kind, err := h.patch(request)
	switch {
	case err != nil:
		h.log.Error("denied", "namespace", request.Namespace, "error", err)
		h.metrics.failed(request.Namespace)
		response.Allowed = false
		response.Result = &meta.Status{Message: err.Error()}
	case patch != nil:
		h.log.Info("injected", "namespace", request.Namespace, "type", kind)
		h.metrics.injected(request.Namespace, kind)
		patchType := admission.PatchTypeJSONPatch
		response.Patch, response.PatchType = patch, &patchType
	}
	return response
}

// patch is the JSON Patch for the pod of the request, nil if the pod is to stay as it is.
func (h *handler) patch(request *admission.AdmissionRequest) (patch []byte, kind string, err error) {
	var pod core.Pod
	if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
		return nil, "", fmt.Errorf("could not unmarshal request to pod: %w", err)
	}
	inject, err := wantsInjection(&pod)
	if err != nil {
		return nil, "", fmt.Errorf("error checking if should inject agent: %w", err)
	}
	if !inject {
		return nil, "", nil
	}
	if request.Namespace == "kube-system" || request.Namespace == "kube-public" {
		return nil, "", fmt.Errorf("error with request namespace: cannot inject into system namespaces: %s", request.Namespace)
	}
	unsupported, unknown := unimplemented(pod.Annotations)
	for _, name := range unsupported {
		h.log.Warn("annotation without effect: vault-k8s knows it, this stand-in does not implement it", "annotation", name)
	}
	for _, name := range unknown {
		h.log.Warn("annotation without effect: vault-k8s does not know it either", "annotation", name)
	}
	notes := annotationsOf(&pod, h.cfg)
	if err := notes.checkPatches(); err != nil {
		return nil, "", fmt.Errorf("error adding default annotations: %w", err)
	}
	agent, err := newAgent(&pod, notes, h.cfg)
	if err != nil {
		return nil, "", fmt.Errorf("error creating new agent sidecar: %w", err)
	}
	if err := agent.validate(); err != nil {
		return nil, "", fmt.Errorf("error validating agent configuration: %w", err)
	}
	operations, err := agent.operations()
	if err != nil {
		return nil, "", fmt.Errorf("error creating patch for agent: %w", err)
	}
	patch, err = json.Marshal(operations)
	return patch, agent.kind(), err
}
