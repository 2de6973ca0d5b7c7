// Command apps is the lab's stand-in for the eight applications of CloudCart: it keeps their contract with a deployment
// (environment, ports, routes, events, metrics, exits) and says of itself that it is none of them.
//
// SPDX-License-Identifier: GPL-3.0-or-later
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const notice = "this is the CloudCart lab's stand-in for %s, not the application: no result here is a result about it\n"

// service is one application: the only command that starts its image, and what it then does until ctx ends.
type service struct {
	command string
	run     func(ctx context.Context) error
}

var services = map[string]service{
	"api-gateway":         {"node src/index.js", runGateway},
	"user-service":        {"python main.py", runUsers},
	"product-service":     {"python app.py", runProducts},
	"order-service":       {"main", runOrders},
	"chaos-service":       {"python main.py", runChaos},
	"notification-worker": {"python worker.py", runWorker},
	"metrics-generator":   {"python generator.py", runGenerator},
	"frontend":            {"nginx -g daemon off;", runFrontend},
}

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	name, chosen, err := find(".", os.Args)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, notice, name)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := chosen.run(ctx); err != nil {
		log.Fatal(err)
	}
}

// find returns the service that the file "service" of the working directory names, if it was started as it must be.
func find(directory string, args []string) (string, service, error) {
	content, err := os.ReadFile(filepath.Join(directory, "service"))
	if err != nil {
		return "", service{}, fmt.Errorf("this program runs in the working directory of its image, /app: %w", err)
	}
	name := strings.TrimSpace(string(content))
	chosen, known := services[name]
	if !known {
		return "", service{}, fmt.Errorf("there is no service %q", name)
	}
	command := strings.Join(append([]string{filepath.Base(args[0])}, args[1:]...), " ")
	if command != chosen.command {
		return "", service{}, fmt.Errorf("%s is started by %q, not by %q", name, chosen.command, command)
	}
	return name, chosen, nil
}

// setting returns an environment variable, or its default where it is not set.
func setting(name, fallback string) string {
	if value, found := os.LookupEnv(name); found {
		return value
	}
	return fallback
}
