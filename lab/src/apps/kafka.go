package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	userCreated      = "user.created"
	productCreated   = "product.created"
	orderCreated     = "order.created"
	paymentConfirmed = "order.payment_confirmed"
	statusChanged    = "order.status_changed"
	stockLow         = "stock.low"
	rateLimited      = "api.rate_limited"
	chaosInjected    = "chaos.injected"
)

// brokers returns the brokers to start from.
func brokers() []string {
	return strings.Split(setting("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092"), ",")
}

// reach asks brokers for their versions, and fails when none answers.
func reach(ctx context.Context, addresses []string) error {
	var problems []error
	for _, address := range addresses {
		connection, err := (&kafka.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			defer connection.Close()
			if err = connection.SetDeadline(time.Now().Add(2 * time.Second)); err == nil {
				_, err = connection.ApiVersions()
			}
		}
		if err == nil {
			return nil
		}
		problems = append(problems, fmt.Errorf("Kafka at %s: %w", address, err))
	}
	return errors.Join(problems...)
}

// events are sent to Kafka. Those without a writer are dropped without a word.
type events struct{ writer *kafka.Writer }

// sender is the producer of the Python services: built once at start, from a broker that answers, or never.
func sender(ctx context.Context) events {
	if err := reach(ctx, brokers()); err != nil {
		log.Printf("no producer, events are dropped from now on: %v", err)
		return events{}
	}
	return events{&kafka.Writer{
		Addr:                   kafka.TCP(brokers()...),
		AllowAutoTopicCreation: true,
		RequiredAcks:           kafka.RequireOne,
		BatchTimeout:           10 * time.Millisecond,
		Async:                  true,
		Completion: func(messages []kafka.Message, err error) {
			if err != nil {
				log.Printf("%d events to %s are lost: %v", len(messages), messages[0].Topic, err)
			}
		},
	}}
}

// send sends an event, with the time if it has none.
func (e events) send(ctx context.Context, topic string, event object) {
	if e.writer == nil {
		return
	}
	if _, found := event["timestamp"]; !found {
		event["timestamp"] = timestamp()
	}
	value, err := json.Marshal(event)
	if err == nil {
		err = e.write(ctx, kafka.Message{Topic: topic, Value: value})
	}
	if err != nil {
		log.Printf("an event to %s is lost: %v", topic, err)
	}
}

// write waits for a topic that is being made because of this very message, a minute at most.
func (e events) write(ctx context.Context, message kafka.Message) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := e.writer.WriteMessages(ctx, message)
		beingMade := errors.Is(err, kafka.LeaderNotAvailable) || errors.Is(err, kafka.UnknownTopicOrPartition)
		if !beingMade || !e.writer.AllowAutoTopicCreation || !pause(ctx, 100*time.Millisecond) {
			return err
		}
	}
}

func (e events) close() {
	if e.writer != nil {
		e.writer.Close()
	}
}
