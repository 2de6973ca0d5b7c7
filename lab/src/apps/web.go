package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type object = map[string]any

// serve answers on a port until ctx ends.
func serve(ctx context.Context, port string, handler http.Handler) error {
	server := &http.Server{
		Addr:              ":" + port,
		Handler:           marked(handler),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
	}
	context.AfterFunc(ctx, func() { server.Close() })
	log.Printf("listening on port %s", port)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// marked says in every answer who gave it.
func marked(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Lab-Stand-In", "true")
		handler.ServeHTTP(w, r)
	})
}

// base returns a mux with what every service has; fallback answers everything that has no route.
func base(name string, registry *prometheus.Registry, fallback http.HandlerFunc, more object) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		health := object{"status": "healthy", "service": name, "timestamp": timestamp()}
		for key, value := range more {
			health[key] = value
		}
		reply(w, http.StatusOK, health)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", fallback)
	return mux
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return registry
}

func counter(registry *prometheus.Registry, name string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: name}, labels)
	registry.MustRegister(vec)
	if len(labels) == 0 {
		vec.WithLabelValues() // a counter without labels shows itself as 0
	}
	return vec
}

// counted counts the answers of a route.
func counted(requests *prometheus.CounterVec, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		recorder := &statusRecorder{w, http.StatusOK}
		handler(recorder, r)
		requests.WithLabelValues(r.Method, r.Pattern, strconv.Itoa(recorder.status)).Inc()
	}
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		log.Print(err)
	}
}

// detail answers with an error as FastAPI words it.
func detail(w http.ResponseWriter, status int, message any) {
	reply(w, status, object{"detail": message})
}

func fastAPINotFound(w http.ResponseWriter, _ *http.Request) {
	detail(w, http.StatusNotFound, "Not Found")
}

// failed answers 500 and logs why, as the frameworks do with an exception.
func failed(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

func decode(r *http.Request, into any) error {
	return json.NewDecoder(r.Body).Decode(into)
}

const isoFormat = "2006-01-02T15:04:05.000000"

// moment is a time as Python's isoformat writes it; a NULL of the database is null.
type moment struct{ time.Time }

func (m moment) MarshalJSON() ([]byte, error) {
	if m.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(m.Format(isoFormat))
}

func (m *moment) UnmarshalJSON(content []byte) (err error) {
	if string(content) != "null" {
		m.Time, err = time.Parse(`"`+isoFormat+`"`, string(content))
	}
	return err
}

func (m *moment) Scan(value any) error {
	m.Time, _ = value.(time.Time)
	return nil
}

func timestamp() moment { return moment{time.Now().UTC()} }

// pause waits, and tells whether there is still something to wait for.
func pause(ctx context.Context, duration time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(duration):
		return true
	}
}
