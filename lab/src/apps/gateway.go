package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/segmentio/kafka-go"
)

type claims struct {
	UserID   int    `json:"user_id"`
	Username string `json:"username"`
	IsAdmin  bool   `json:"is_admin"`
	jwt.RegisteredClaims
}

type gateway struct {
	key                            []byte
	users, products, orders, chaos string
	limit                          limiter
	events                         events
	connected                      atomic.Bool
	patience                       time.Duration
}

func runGateway(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, err := newGateway()
	if err != nil {
		return err
	}
	defer g.events.close()
	if err := watchRedis(setting("REDIS_URL", "redis://redis:6379"), cancel); err != nil {
		log.Printf("Redis is not used: %v", err)
	}
	go g.watchChaos(ctx)
	if err := serve(ctx, setting("PORT", "3000"), g.handler()); err != nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func newGateway() (*gateway, error) {
	window, err := strconv.Atoi(setting("RATE_LIMIT_WINDOW", "60000"))
	if err != nil {
		return nil, fmt.Errorf("RATE_LIMIT_WINDOW: %w", err)
	}
	requests, err := strconv.Atoi(setting("RATE_LIMIT_MAX_REQUESTS", "100"))
	if err != nil {
		return nil, fmt.Errorf("RATE_LIMIT_MAX_REQUESTS: %w", err)
	}
	return &gateway{
		key:      []byte(setting("JWT_SECRET", "your-secret-key")),
		users:    setting("USER_SERVICE_URL", "http://user-service:8001"),
		products: setting("PRODUCT_SERVICE_URL", "http://product-service:8002"),
		orders:   setting("ORDER_SERVICE_URL", "http://order-service:8003"),
		chaos:    setting("CHAOS_SERVICE_URL", "http://chaos-service:8004"),
		patience: 3500 * time.Millisecond,
		limit:    limiter{window: time.Duration(window) * time.Millisecond, requests: requests},
		events: events{&kafka.Writer{
			Addr: kafka.TCP(brokers()...), AllowAutoTopicCreation: true, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
		}},
	}, nil
}

func (g *gateway) handler() http.Handler {
	mux := base("api-gateway", newRegistry(), expressNotFound, nil)
	mux.HandleFunc("POST /api/auth/register", g.register)
	mux.HandleFunc("POST /api/auth/login", g.login)
	mux.HandleFunc("GET /api/auth/validate", g.validate)

	mux.HandleFunc("GET /api/users", g.signedIn(g.passOn(g.users, "/users")))
	mux.HandleFunc("GET /api/users/{id}", g.signedIn(g.passOn(g.users, "/users/{id}")))
	mux.HandleFunc("PUT /api/users/{id}", g.signedIn(g.ownOnly(g.passOn(g.users, "/users/{id}"))))
	mux.HandleFunc("DELETE /api/users/{id}", g.signedIn(g.ownOnly(g.passOn(g.users, "/users/{id}"))))

	open := func(next authorized) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { next(w, r, nil) }
	}
	mux.HandleFunc("GET /api/products", open(g.passOn(g.products, "/products")))
	mux.HandleFunc("GET /api/products/{id}", open(g.passOn(g.products, "/products/{id}")))
	mux.HandleFunc("GET /api/products/category/{id}", open(g.passOn(g.products, "/products/category/{id}")))

	mux.HandleFunc("GET /api/orders", g.signedIn(g.passOn(g.orders, "/orders")))
	mux.HandleFunc("POST /api/orders", g.signedIn(g.order))
	mux.HandleFunc("GET /api/orders/my-orders", g.signedIn(func(w http.ResponseWriter, r *http.Request, who *claims) {
		g.answer(w, r, g.orders+fmt.Sprintf("/orders/user/%d", who.UserID), nil)
	}))
	mux.HandleFunc("GET /api/orders/{id}", g.signedIn(g.ownOrder))
	mux.HandleFunc("PATCH /api/orders/{id}/status", g.signedIn(g.passOn(g.orders, "/orders/{id}/status")))
	mux.HandleFunc("POST /api/orders/{id}/pay", g.signedIn(g.passOn(g.orders, "/orders/{id}/pay")))

	for _, route := range []string{
		"GET config", "POST enable", "POST disable", "POST inject/latency", "POST inject/error", "POST inject/random",
		"GET test/slow", "GET test/error", "GET test/memory-leak",
	} {
		method, path, _ := strings.Cut(route, " ")
		mux.HandleFunc(method+" /api/chaos/"+path, func(w http.ResponseWriter, r *http.Request) { g.askChaos(w, r, "/chaos/"+path) })
	}
	return g.guarded(mux)
}

// guarded adds what every answer has, and refuses clients that ask too often.
func (g *gateway) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "SAMEORIGIN")
		if r.Method == http.MethodOptions {
			header.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
			header.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		ip, _, _ := net.SplitHostPort(r.RemoteAddr)
		if r.URL.Path != "/health" && r.URL.Path != "/metrics" && !g.limit.allows(ip, time.Now()) {
			g.report(r.Context(), object{"ip": ip, "path": r.URL.Path})
			reply(w, http.StatusTooManyRequests, object{"error": "Too many requests, please try again later."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// report tells Kafka of a refusal. The first time it connects; it tries for a while, and the answer waits for it.
func (g *gateway) report(ctx context.Context, event object) {
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	for !g.connected.Load() {
		err := reach(ctx, brokers())
		g.connected.Store(err == nil)
		if err != nil && !pause(ctx, g.patience/10) {
			log.Printf("an event to %s is lost: %v", rateLimited, err)
			return
		}
	}
	g.events.send(ctx, rateLimited, event)
}

// limiter counts requests per client in windows that begin with a client's first request.
type limiter struct {
	window   time.Duration
	requests int
	mutex    sync.Mutex
	clients  map[string]*usage
}

type usage struct {
	since time.Time
	count int
}

func (l *limiter) allows(client string, now time.Time) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.clients == nil {
		l.clients = map[string]*usage{}
	}
	used := l.clients[client]
	if used == nil || now.Sub(used.since) >= l.window {
		used = &usage{since: now}
		l.clients[client] = used
	}
	used.count++
	return used.count <= l.requests
}

func expressNotFound(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>Error</title>\n</head>\n<body>\n<pre>Cannot %s %s</pre>\n</body>\n</html>\n",
		r.Method, html.EscapeString(r.URL.Path))
}

func refuse(w http.ResponseWriter, status int, message string) {
	reply(w, status, object{"error": message})
}

// ---- who asks

type authorized func(w http.ResponseWriter, r *http.Request, who *claims)

func (g *gateway) sign(u user) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{u.ID, u.Username, u.IsAdmin, jwt.RegisteredClaims{
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(24 * time.Hour)),
	}}).SignedString(g.key)
}

var errNoToken = errors.New("no token")

func (g *gateway) who(r *http.Request) (*claims, error) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found || token == "" {
		return nil, errNoToken
	}
	var payload claims
	_, err := jwt.ParseWithClaims(token, &payload, func(*jwt.Token) (any, error) { return g.key, nil }, jwt.WithValidMethods([]string{"HS256"}))
	return &payload, err
}

func (g *gateway) signedIn(next authorized) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := g.who(r)
		switch {
		case errors.Is(err, errNoToken):
			refuse(w, http.StatusUnauthorized, "Access token required")
		case err != nil:
			refuse(w, http.StatusForbidden, "Invalid or expired token")
		default:
			next(w, r, who)
		}
	}
}

func (g *gateway) ownOnly(next authorized) authorized {
	return func(w http.ResponseWriter, r *http.Request, who *claims) {
		if r.PathValue("id") != strconv.Itoa(who.UserID) {
			refuse(w, http.StatusForbidden, "Access denied")
			return
		}
		next(w, r, who)
	}
}

func (g *gateway) validate(w http.ResponseWriter, r *http.Request) {
	who, err := g.who(r)
	if err != nil {
		reply(w, http.StatusUnauthorized, object{"valid": false, "error": "Invalid or missing token"})
		return
	}
	reply(w, http.StatusOK, object{"valid": true, "user": who})
}

func (g *gateway) register(w http.ResponseWriter, r *http.Request) {
	body := object{}
	if err := decode(r, &body); err != nil || body["username"] == nil || body["email"] == nil || body["password"] == nil {
		refuse(w, http.StatusBadRequest, "Username, email and password are required")
		return
	}
	var u user
	if g.ask(w, r, http.MethodPost, g.users+"/users", body, &u) {
		g.welcome(w, http.StatusCreated, "User registered successfully", u)
	}
}

func (g *gateway) login(w http.ResponseWriter, r *http.Request) {
	body := object{}
	if err := decode(r, &body); err != nil || body["username"] == nil || body["password"] == nil {
		refuse(w, http.StatusBadRequest, "Username and password are required")
		return
	}
	var found struct {
		Valid bool
		User  user
	}
	switch {
	case !g.ask(w, r, http.MethodPost, g.users+"/auth/validate-password", body, &found):
	case !found.Valid:
		refuse(w, http.StatusUnauthorized, "Invalid credentials")
	default:
		g.welcome(w, http.StatusOK, "Login successful", found.User)
	}
}

func (g *gateway) welcome(w http.ResponseWriter, status int, message string, u user) {
	token, err := g.sign(u)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	reply(w, status, object{"message": message, "token": token, "user": object{
		"id": u.ID, "username": u.Username, "email": u.Email, "full_name": u.FullName, "is_admin": u.IsAdmin,
	}})
}

// ---- the services behind

// passOn hands a request over; {id} of the target is that of the request's path.
func (g *gateway) passOn(service, target string) authorized {
	return func(w http.ResponseWriter, r *http.Request, _ *claims) {
		path := strings.ReplaceAll(target, "{id}", url.PathEscape(r.PathValue("id")))
		if r.URL.RawQuery != "" {
			path += "?" + r.URL.RawQuery
		}
		g.answer(w, r, service+path, r.Body)
	}
}

func (g *gateway) order(w http.ResponseWriter, r *http.Request, who *claims) {
	body := object{}
	if err := decode(r, &body); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	body["user_id"] = who.UserID
	content, err := json.Marshal(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	g.answer(w, r, g.orders+"/orders", bytes.NewReader(content))
}

func (g *gateway) ownOrder(w http.ResponseWriter, r *http.Request, who *claims) {
	var found object
	if !g.ask(w, r, http.MethodGet, g.orders+"/orders/"+url.PathEscape(r.PathValue("id")), nil, &found) {
		return
	}
	if owner, _ := found["user_id"].(float64); int(owner) != who.UserID {
		refuse(w, http.StatusForbidden, "Access denied")
		return
	}
	reply(w, http.StatusOK, found)
}

// askChaos hands a request to the chaos service without its body; any refusal is an error of the gateway.
func (g *gateway) askChaos(w http.ResponseWriter, r *http.Request, path string) {
	limit := 5 * time.Second
	if path == "/chaos/test/slow" {
		limit = 35 * time.Second
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	status, content, err := fetch(ctx, r.Method, g.chaos+path, nil)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("Request failed with status code %d", status) //nolint:staticcheck // the application's wording
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, nodeError(err))
		return
	}
	reply(w, status, json.RawMessage(content))
}

// answer asks a service and hands its answer over.
func (g *gateway) answer(w http.ResponseWriter, r *http.Request, address string, body io.Reader) {
	if status, content, ok := g.try(w, r, r.Method, address, body); ok {
		reply(w, status, asJSON(content))
	}
}

// ask asks a service for a value; where it gives none, its answer has been handed over.
func (g *gateway) ask(w http.ResponseWriter, r *http.Request, method, address string, body, into any) bool {
	content, err := json.Marshal(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return false
	}
	status, content, ok := g.try(w, r, method, address, bytes.NewReader(content))
	if !ok {
		return false
	}
	if status/100 != 2 {
		reply(w, status, asJSON(content))
		return false
	}
	if err := json.Unmarshal(content, into); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return false
	}
	return true
}

// try asks a service, as long as it takes; where it does not answer, the answer has been given.
func (g *gateway) try(w http.ResponseWriter, r *http.Request, method, address string, body io.Reader) (int, []byte, bool) {
	status, content, err := fetch(r.Context(), method, address, body)
	if err != nil {
		log.Print(err)
		refuse(w, http.StatusInternalServerError, nodeError(err))
	}
	return status, content, err == nil
}

func fetch(ctx context.Context, method, address string, body io.Reader) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, content, err
}

// asJSON is an answer as it is, or a JSON string of an answer that is text.
func asJSON(content []byte) any {
	if json.Valid(content) {
		return json.RawMessage(content)
	}
	return string(content)
}

// nodeError words an error as Node does.
func nodeError(err error) string {
	var lookup *net.DNSError
	var operation *net.OpError
	switch {
	case errors.As(err, &lookup):
		return "getaddrinfo ENOTFOUND " + lookup.Name
	case errors.As(err, &operation) && operation.Op == "dial":
		return fmt.Sprintf("connect ECONNREFUSED %s", operation.Addr)
	}
	return err.Error()
}

// ---- Redis and chaos

// watchRedis connects once and keeps the connection, for nothing; to lose it is the end.
func watchRedis(address string, lost context.CancelCauseFunc) error {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "redis" || parsed.Host == "" {
		return errors.New("REDIS_URL is not a URL like redis://HOST:PORT")
	}
	host := parsed.Host
	if parsed.Port() == "" {
		host += ":6379"
	}
	connection, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return err
	}
	if password, found := parsed.User.Password(); found {
		fmt.Fprintf(connection, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password)
	}
	fmt.Fprint(connection, "PING\r\n")
	lines := bufio.NewScanner(connection)
	for lines.Scan() && lines.Text() != "+PONG" {
		if strings.HasPrefix(lines.Text(), "-") {
			connection.Close()
			return errors.New(lines.Text())
		}
	}
	if lines.Text() != "+PONG" {
		connection.Close()
		return errors.New("the server does not answer PING")
	}
	log.Printf("connected to Redis at %s", host)
	go func() {
		defer connection.Close()
		for lines.Scan() {
		}
		lost(errors.New("SocketClosedUnexpectedlyError: Redis is lost, and nothing listens for that error"))
	}()
	return nil
}

// watchChaos reads the chaos configuration every five seconds, and only logs when that changes its success.
func (g *gateway) watchChaos(ctx context.Context) {
	reached := true
	for {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		status, _, err := fetch(limited, http.MethodGet, g.chaos+"/chaos/config", nil)
		cancel()
		if now := err == nil && status == http.StatusOK; now != reached {
			reached = now
			log.Printf("the chaos configuration can be read: %t", reached)
		}
		if !pause(ctx, 5*time.Second) {
			return
		}
	}
}
