// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// metrics are the injector's own, in Prometheus text form. The zero value is ready.
type metrics struct {
	mutex    sync.Mutex
	queue    int
	count    int
	duration time.Duration
	counters map[string]int // series -> value
}

// track counts a request that began at started; the result ends it.
func (m *metrics) track(started time.Time) func() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.queue++
	return func() {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		m.queue--
		m.count++
		m.duration += time.Since(started)
	}
}

func (m *metrics) injected(namespace, kind string) {
	m.increase(fmt.Sprintf("vault_agent_injector_injections_by_namespace_total{injection_type=%q,namespace=%q}", kind, namespace))
}

func (m *metrics) failed(namespace string) {
	m.increase(fmt.Sprintf("vault_agent_injector_failed_injections_by_namespace_total{namespace=%q}", namespace))
}

func (m *metrics) increase(series string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.counters == nil {
		m.counters = map[string]int{}
	}
	m.counters[series]++
}

func (m *metrics) serve(w http.ResponseWriter, _ *http.Request) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "vault_agent_injector_request_queue_length %d\n", m.queue)
	fmt.Fprintf(w, "vault_agent_injector_request_processing_duration_ms_sum %g\n", float64(m.duration.Microseconds())/1000)
	fmt.Fprintf(w, "vault_agent_injector_request_processing_duration_ms_count %d\n", m.count)
	for _, series := range slices.Sorted(maps.Keys(m.counters)) {
		fmt.Fprintf(w, "%s %d\n", series, m.counters[series])
	}
}
