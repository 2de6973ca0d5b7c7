package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// generator is a client that asks the gateway for one thing or another.
type generator struct {
	gateway  string
	interval time.Duration
}

func runGenerator(ctx context.Context) error {
	seconds, err := strconv.Atoi(setting("INTERVAL_SECONDS", "5"))
	if err != nil {
		return fmt.Errorf("INTERVAL_SECONDS: %w", err)
	}
	g := generator{setting("API_GATEWAY_URL", "http://api-gateway:3000"), time.Duration(seconds) * time.Second}
	if !g.wait(ctx, 30, 2*time.Second) {
		log.Print("the gateway does not answer: the end, without an error")
		return nil
	}
	for {
		g.round(ctx)
		if !pause(ctx, g.interval) {
			return nil
		}
	}
}

// wait tells whether the gateway became healthy. Only requests without any answer count as tries.
func (g generator) wait(ctx context.Context, tries int, gap time.Duration) bool {
	for tried := 0; tried < tries && ctx.Err() == nil; {
		switch status, err := g.get(ctx, "/health"); {
		case err != nil:
			tried++
			log.Printf("waiting for the gateway (%d of %d): %v", tried, tries, err)
			pause(ctx, gap)
		case status == http.StatusOK:
			return true
		}
	}
	return false
}

func (g generator) round(ctx context.Context) {
	for range 1 + rand.IntN(3) {
		g.get(ctx, choose(rand.IntN(100)))
		pause(ctx, time.Duration(500+rand.IntN(1500))*time.Millisecond)
	}
	if rand.IntN(100) < 10 {
		for range 10 + rand.IntN(21) {
			g.get(ctx, "/api/products")
			pause(ctx, 100*time.Millisecond)
		}
	}
	if rand.IntN(100) < 5 {
		for _, path := range []string{"/api/products/99999", "/api/users/99999", "/api/invalid"} {
			g.get(ctx, path)
		}
	}
}

// choose returns what to ask for: percent is 0 to 99.
func choose(percent int) string {
	switch {
	case percent < 35:
		return "/health"
	case percent < 65:
		return "/api/products"
	case percent < 85:
		return "/api/products/1"
	}
	return "/api/products/category/Electronics"
}

func (g generator) get(ctx context.Context, path string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	status, _, err := fetch(ctx, http.MethodGet, g.gateway+path, nil)
	return status, err
}
