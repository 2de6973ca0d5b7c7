package main

import (
	"context"
	"encoding/json"
	"log"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// consumed are the topics of the worker: all but product.created.
var consumed = []string{userCreated, orderCreated, paymentConfirmed, statusChanged, stockLow, rateLimited, chaosInjected}

type worker struct {
	started          time.Time
	consumed, failed *prometheus.CounterVec
	running, uptime  prometheus.Gauge
}

func newWorker(registry *prometheus.Registry) worker {
	w := worker{
		started:  time.Now(),
		consumed: counter(registry, "notification_messages_consumed_total", "topic"),
		failed:   counter(registry, "notification_messages_failed_total", "topic", "error_type"),
		running:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "notification_worker_running", Help: "1 from the start on"}),
		uptime:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "notification_worker_uptime_seconds", Help: "moves with messages only"}),
	}
	registry.MustRegister(w.running, w.uptime)
	return w
}

func runWorker(ctx context.Context) error {
	registry := newRegistry()
	w := newWorker(registry)
	failed := make(chan error, 1)
	go func() {
		failed <- serve(ctx, setting("METRICS_PORT", "8005"), promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	}()
	w.running.Set(1) // before there is a broker, as the application does

	if err := reach(ctx, brokers()); err != nil {
		return err
	}
	// Another library than that of the producers: groups of this one survive whatever the broker does.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers()...),
		kgo.ConsumerGroup(setting("KAFKA_GROUP_ID", "notification-worker-group")),
		kgo.ConsumeTopics(consumed...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(10*time.Second),
		kgo.MetadataMaxAge(5*time.Minute), // topics made later are found that late
		kgo.AllowAutoTopicCreation(),
		kgo.MaxVersions(kversion.V2_5_0()), // as of the application's library: topics have names, not IDs
	)
	if err != nil {
		return err
	}
	defer client.Close()
	go func() {
		for ctx.Err() == nil {
			fetched := client.PollFetches(ctx)
			fetched.EachError(func(topic string, _ int32, err error) { log.Printf("Kafka: %s: %v", topic, err) })
			fetched.EachRecord(func(record *kgo.Record) { w.handle(record.Topic, record.Value) })
		}
	}()
	return <-failed
}

// handle "sends" a notification. The application miscounts: what it handled well is a ValueError.
func (w worker) handle(topic string, message []byte) {
	w.consumed.WithLabelValues(topic).Inc()
	w.uptime.Set(time.Since(w.started).Seconds())
	kind := "ValueError"
	var event object
	if err := json.Unmarshal(message, &event); err != nil {
		kind = "JSONDecodeError"
		log.Printf("%s: not JSON: %v", topic, err)
	} else {
		log.Printf("notification of %s: %s", topic, message)
	}
	w.failed.WithLabelValues(topic, kind).Inc()
}
