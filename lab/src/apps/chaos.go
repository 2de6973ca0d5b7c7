package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type chaosConfig struct {
	ErrorRate    float64 `json:"error_rate"`
	LatencyMinMs int     `json:"latency_min_ms"`
	LatencyMaxMs int     `json:"latency_max_ms"`
	TimeoutRate  float64 `json:"timeout_rate"`
}

// chaosService keeps its state in memory.
type chaosService struct {
	mutex      sync.Mutex
	enabled    bool
	config     chaosConfig
	events     events
	injections *prometheus.CounterVec
}

func runChaos(ctx context.Context) error {
	s, handler := newChaos(sender(ctx))
	defer s.events.close()
	return serve(ctx, setting("PORT", "8004"), handler)
}

func newChaos(events events) (*chaosService, http.Handler) {
	registry := newRegistry()
	requests := counter(registry, "chaos_http_requests_total", "method", "endpoint", "status")
	s := &chaosService{
		enabled:    strings.EqualFold(setting("CHAOS_ENABLED", "true"), "true"),
		config:     chaosConfig{0.1, 100, 3000, 0.05},
		events:     events,
		injections: counter(registry, "chaos_injections_total", "type"),
	}
	mux := base("chaos-service", registry, fastAPINotFound, object{"chaos_enabled": s.enabled})
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /chaos/config":           s.show,
		"PUT /chaos/config":           s.configure,
		"POST /chaos/enable":          s.toggle(true),
		"POST /chaos/disable":         s.toggle(false),
		"POST /chaos/inject/latency":  s.whenEnabled(s.latency),
		"POST /chaos/inject/error":    s.whenEnabled(s.error),
		"POST /chaos/inject/random":   s.whenEnabled(s.random),
		"GET /chaos/test/slow":        s.slow,
		"GET /chaos/test/memory-leak": s.leak,
		"GET /chaos/test/error":       func(w http.ResponseWriter, _ *http.Request) { detail(w, 500, "Test error") },
		"POST /chaos/event-publish":   s.publish,
	} {
		mux.HandleFunc(pattern, counted(requests, handler))
	}
	return s, mux
}

func (s *chaosService) show(w http.ResponseWriter, _ *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	reply(w, http.StatusOK, object{"enabled": s.enabled, "config": s.config})
}

func (s *chaosService) configure(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	config := s.config
	err := decode(r, &config)
	if err == nil {
		s.config = config
	}
	s.mutex.Unlock()
	if err != nil {
		detail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	s.show(w, r)
}

func (s *chaosService) toggle(enabled bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.enabled = enabled
		reply(w, http.StatusOK, object{"enabled": enabled})
	}
}

func (s *chaosService) whenEnabled(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mutex.Lock()
		enabled := s.enabled
		s.mutex.Unlock()
		if !enabled {
			reply(w, http.StatusOK, object{"message": "Chaos is disabled"})
			return
		}
		next(w, r)
	}
}

func (s *chaosService) injected(ctx context.Context, kind string, details object) {
	s.injections.WithLabelValues(kind).Inc()
	s.events.send(ctx, chaosInjected, object{"chaos_type": kind, "details": details})
}

func (s *chaosService) latency(w http.ResponseWriter, r *http.Request) {
	low, high := number(r, "min_ms", 100), number(r, "max_ms", 1000)
	if low < 0 || high < low {
		detail(w, http.StatusUnprocessableEntity, "min_ms and max_ms are no range")
		return
	}
	delay := low + rand.IntN(high-low+1)
	pause(r.Context(), time.Duration(delay)*time.Millisecond)
	s.injected(r.Context(), "latency", object{"delay_ms": delay})
	reply(w, http.StatusOK, object{"chaos_type": "latency", "delay_ms": delay})
}

func (s *chaosService) error(w http.ResponseWriter, r *http.Request) {
	code := number(r, "error_code", http.StatusInternalServerError)
	if code < 200 || code > 599 {
		detail(w, http.StatusUnprocessableEntity, fmt.Sprintf("%d is no status", code))
		return
	}
	message := r.URL.Query().Get("message")
	if message == "" {
		message = "Injected error"
	}
	s.injected(r.Context(), "error", object{"error_code": code, "message": message})
	detail(w, code, message)
}

func (s *chaosService) random(w http.ResponseWriter, r *http.Request) {
	[]http.HandlerFunc{s.latency, s.error}[rand.IntN(2)](w, r)
}

func (s *chaosService) slow(w http.ResponseWriter, r *http.Request) {
	delay := 2 + 3*rand.Float64()
	pause(r.Context(), time.Duration(delay*float64(time.Second)))
	reply(w, http.StatusOK, object{"message": "Slow response", "delay_seconds": delay})
}

func (s *chaosService) leak(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, object{"message": "Memory allocated and freed"})
}

func (s *chaosService) publish(w http.ResponseWriter, r *http.Request) {
	var event object
	if err := decode(r, &event); err != nil || event == nil {
		detail(w, http.StatusUnprocessableEntity, "the body is no JSON object")
		return
	}
	s.events.send(r.Context(), chaosInjected, event)
	reply(w, http.StatusOK, object{"message": "Event published"})
}

// number returns a parameter of the query, or its default.
func number(r *http.Request, name string, fallback int) int {
	if value, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return value
	}
	return fallback
}
