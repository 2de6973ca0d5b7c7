package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
)

const deadBroker = "127.0.0.1:1"

func call(t *testing.T, handler http.Handler, method, path, token, body string) (int, string) {
	t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

func wants(t *testing.T, what string, status int, body string, wanted int, part string) {
	t.Helper()
	if status != wanted || !strings.Contains(body, part) {
		t.Errorf("%s: got %d %q, want %d and %q", what, status, body, wanted, part)
	}
}

// ---- start

func TestAnImageStartsItsOwnServiceOnly(t *testing.T) {
	for service, command := range map[string]string{
		"api-gateway": "/usr/local/bin/node src/index.js", "user-service": "python main.py", "product-service": "python app.py",
		"order-service": "/app/main", "chaos-service": "python main.py", "notification-worker": "python worker.py",
		"metrics-generator": "python generator.py",
	} {
		folder := t.TempDir()
		if _, _, err := find(folder, strings.Fields(command)); err == nil {
			t.Error("it starts outside of /app")
		}
		if err := os.WriteFile(filepath.Join(folder, "service"), []byte(service+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name, _, err := find(folder, strings.Fields(command)); err != nil || name != service {
			t.Errorf("%s: %v", service, err)
		}
		if _, _, err := find(folder, []string{"python", "other.py"}); err == nil {
			t.Errorf("%s starts by another service's command", service)
		}
	}
}

func TestWhatIsMissingAtStartEndsTheServiceAtOnce(t *testing.T) {
	t.Setenv("KAFKA_BOOTSTRAP_SERVERS", deadBroker)
	t.Setenv("METRICS_PORT", "0")
	for _, c := range []struct {
		name, url, part string
		run             func(context.Context) error
	}{
		{"no database", "postgresql://a:b@127.0.0.1:1/x?sslmode=disable", "refused", runUsers},
		{"no database", "postgresql://a:b@127.0.0.1:1/x?sslmode=disable", "refused", runProducts},
		{"no database", "postgresql://a:b@127.0.0.1:1/x?sslmode=disable", "refused", runOrders},
		{"the manifest's placeholder", "placeholder", "could not parse", runUsers},
		{"the manifest's placeholder", "placeholder", "connection info string", runOrders},
		{"a scheme of others", "postgres://a:b@127.0.0.1:1/x", "dialects:postgres", runProducts},
		{"no broker", "", "refused", runWorker},
	} {
		t.Setenv("DATABASE_URL", c.url)
		start := time.Now()
		err := c.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v, want %q", c.name, err, c.part)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: it took %s to give up", c.name, took)
		}
	}
}

func TestPythonDoesNotDemandTLS(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgresql://u:p%40ss@postgres:5432/cloudcart")
	if got, err := pythonAddress(); err != nil || got != "postgresql://u:p%40ss@postgres:5432/cloudcart?sslmode=disable" {
		t.Errorf("%q, %v", got, err)
	}
	t.Setenv("DATABASE_URL", "postgresql://postgres/cloudcart?sslmode=require")
	if got, _ := pythonAddress(); !strings.HasSuffix(got, "?sslmode=require") {
		t.Errorf("%q", got)
	}
}

func TestTheOrderServiceDemandsTLSUnlessToldOtherwise(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // PostgreSQL without TLS answers N
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connection.Read(make([]byte, 8))
			connection.Write([]byte("N"))
		}
	}()
	t.Setenv("DATABASE_URL", fmt.Sprintf("postgresql://u:p@%s/x", listener.Addr()))
	if err := runOrders(t.Context()); err == nil || !strings.Contains(err.Error(), "SSL is not enabled on the server") {
		t.Error(err)
	}
}

func TestAProducerWithoutABrokerAtStartStaysSilent(t *testing.T) {
	t.Setenv("KAFKA_BOOTSTRAP_SERVERS", deadBroker+","+deadBroker)
	start := time.Now()
	producer := sender(t.Context())
	if producer.writer != nil || time.Since(start) > time.Second {
		t.Error("it did not give up at once")
	}
	producer.send(t.Context(), userCreated, object{})
}

func TestAnOrderWithoutABrokerIsNotDelayed(t *testing.T) {
	lazy := events{&kafka.Writer{Addr: kafka.TCP(deadBroker)}}
	start := time.Now()
	lazy.send(t.Context(), orderCreated, object{})
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

// ---- the rules of the services

func TestMailAddresses(t *testing.T) {
	for address, good := range map[string]bool{
		"a@example.com": true, "a.b+c@sub.example.com": true,
		"a@cloudcart.local": false, "a@x.test": false, "a@x.localhost": false, "a@x.invalid": false, "a@X.TEST": false,
		"a@host": false, "a@x..com": false, "a": false, "": false, "A <a@example.com>": false,
	} {
		if problem := badEmail(address); (problem == "") != good {
			t.Errorf("%q: %q", address, problem)
		}
	}
}

func TestOrderTransitions(t *testing.T) {
	states := []string{"pending", "awaiting_payment", "confirmed", "shipped", "delivered", "cancelled", "returned"}
	allowed := []string{
		"awaiting_payment confirmed", "awaiting_payment cancelled", "confirmed shipped", "confirmed cancelled",
		"shipped delivered", "shipped returned", "delivered returned",
	}
	for _, from := range states {
		for _, to := range states {
			if got, want := slices.Contains(transitions[from], to), slices.Contains(allowed, from+" "+to); got != want {
				t.Errorf("%s to %s: %t", from, to, got)
			}
		}
	}
}

func TestTheTotalIsWhatTheClientSays(t *testing.T) {
	if got := total([]orderItem{{Quantity: 25, Price: 399.99}, {Quantity: 1, Price: 0.25}}); fmt.Sprintf("%.2f", got) != "10000.00" {
		t.Error(got)
	}
}

func TestStockRunsLowOnceOnly(t *testing.T) {
	for stock, low := range map[[2]int]bool{{10, 9}: true, {30, 5}: true, {9, 5}: false, {30, 10}: false, {5, 30}: false} {
		if runsLow(stock[0], stock[1]) != low {
			t.Error(stock)
		}
	}
}

func TestStockIsLoweredToNoLessThanZero(t *testing.T) {
	var sent string
	products := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			var body bytes.Buffer
			body.ReadFrom(r.Body)
			sent = r.URL.Path + " " + body.String()
		}
		reply(w, http.StatusOK, product{Name: "Desk", Stock: 3})
	}))
	defer products.Close()
	s := orderService{products: products.URL}
	if name := s.productName(t.Context(), 5); name != "Desk" {
		t.Error(name)
	}
	if err := s.lowerStock(t.Context(), orderItem{ProductID: 5, Quantity: 7}); err != nil || sent != `/products/5/stock {"stock":0}` {
		t.Error(err, sent)
	}
	products.Close()
	if name := s.productName(t.Context(), 5); name != "" {
		t.Error(name)
	}
}

func TestBadRequestsNeedNoDatabase(t *testing.T) {
	users, orders := userService{}, orderService{}
	for _, c := range []struct {
		handler http.HandlerFunc
		body    string
		status  int
		part    string
	}{
		{users.create, `{"username": "a", "password": "b"}`, 422, `"detail"`},
		{users.create, `{"username": "a", "password": "b", "email": "a@x.local"}`, 422, "reserved name"},
		{orders.create, `{"items": []}`, 400, "at least one item"},
		{orders.create, `nonsense`, 400, "Invalid"},
		{orders.pay, `nonsense`, 400, "Invalid"},
		{productService{}.create, `{"name": "x"}`, 500, "Internal Server Error"},
	} {
		status, body := call(t, c.handler, "POST", "/", "", c.body)
		wants(t, c.body, status, body, c.status, c.part)
	}
}

func TestTimesAreWrittenAsPythonWritesThem(t *testing.T) {
	content, err := json.Marshal([]moment{{time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}, {}})
	if err != nil || string(content) != `["2026-01-02T03:04:05.000006",null]` {
		t.Error(err, string(content))
	}
}

// ---- chaos

func TestChaos(t *testing.T) {
	s, handler := newChaos(events{})
	for _, c := range []struct {
		request, body string
		status        int
		part          string
	}{
		{"GET /health", "", 200, `"chaos_enabled":true`},
		{"GET /chaos/config", "", 200, `"error_rate":0.1,"latency_min_ms":100,"latency_max_ms":3000,"timeout_rate":0.05`},
		{"PUT /chaos/config", `{"error_rate": 0.5}`, 200, `"error_rate":0.5,"latency_min_ms":100`},
		{"POST /chaos/inject/latency?min_ms=1&max_ms=2", "", 200, `"chaos_type":"latency"`},
		{"POST /chaos/inject/error", "", 500, "Injected error"},
		{"POST /chaos/inject/error?error_code=418&message=tea", "", 418, "tea"},
		{"GET /chaos/test/error", "", 500, "detail"},
		{"POST /chaos/event-publish", `{"x": 1}`, 200, "published"},
		{"POST /chaos/event-publish", `[]`, 422, "detail"},
		{"POST /chaos/disable", "", 200, `"enabled":false`},
		{"POST /chaos/inject/error", "", 200, "disabled"},
		{"GET /nothing", "", 404, `{"detail":"Not Found"}`},
		{"GET /metrics", "", 200, "chaos_injections_total{type=\"error\"} 2"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		status, body := call(t, handler, method, path, "", c.body)
		wants(t, c.request, status, body, c.status, c.part)
	}
	if got := testutil.ToFloat64(s.injections.WithLabelValues("latency")); got != 1 {
		t.Error(got)
	}
	t.Setenv("CHAOS_ENABLED", "yes")
	if s, _ := newChaos(events{}); s.enabled {
		t.Error("only the word true enables chaos")
	}
}

// ---- the gateway

// behind plays every service behind the gateway.
func behind(t *testing.T) (*gateway, http.Handler) {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := object{}
		decode(r, &body)
		switch r.Method + " " + r.URL.RequestURI() {
		case "POST /users":
			if body["username"] == "taken" {
				detail(w, http.StatusBadRequest, "Username already registered")
				return
			}
			reply(w, http.StatusCreated, user{ID: 7, Username: "ann", Email: "ann@example.com", CreatedAt: timestamp()})
		case "POST /auth/validate-password":
			reply(w, http.StatusOK, object{"valid": body["password"] == "right", "user": user{ID: 7, Username: "ann", CreatedAt: timestamp()}})
		case "GET /products/99":
			productNotFound(w)
		case "GET /orders/1":
			reply(w, http.StatusOK, object{"id": 1, "user_id": 7})
		case "GET /orders/2":
			reply(w, http.StatusOK, object{"id": 2, "user_id": 8})
		case "PATCH /orders/1/status":
			http.Error(w, "Invalid status transition", http.StatusBadRequest)
		case "POST /chaos/inject/error":
			detail(w, http.StatusTeapot, "x")
		default:
			reply(w, http.StatusOK, object{"path": r.URL.RequestURI(), "sent": body})
		}
	}))
	t.Cleanup(backend.Close)
	for _, name := range []string{"USER", "PRODUCT", "ORDER", "CHAOS"} {
		t.Setenv(name+"_SERVICE_URL", backend.URL)
	}
	t.Setenv("KAFKA_BOOTSTRAP_SERVERS", deadBroker)
	g, err := newGateway()
	if err != nil {
		t.Fatal(err)
	}
	return g, g.handler()
}

func TestTheGatewaysRoutes(t *testing.T) {
	g, handler := behind(t)
	token, err := g.sign(user{ID: 7, Username: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		request, token, body string
		status               int
		part                 string
	}{
		{"GET /health", "", "", 200, `"service":"api-gateway"`},
		{"POST /api/auth/register", "", `{"username":"ann","email":"ann@example.com","password":"x"}`, 201, `"token":"ey`},
		{"POST /api/auth/register", "", `{"username":"taken","email":"ann@example.com","password":"x"}`, 400, `"detail"`},
		{"POST /api/auth/register", "", `{"username":"ann"}`, 400, `"error"`},
		{"POST /api/auth/login", "", `{"username":"ann","password":"right"}`, 200, `"token":"ey`},
		{"POST /api/auth/login", "", `{"username":"ann","password":"wrong"}`, 401, `"error"`},
		{"POST /api/auth/login", "", `{"username":"ann"}`, 400, `"error"`},
		{"GET /api/auth/validate", token, "", 200, `"valid":true`},
		{"GET /api/auth/validate", "broken", "", 401, `"valid":false`},
		{"GET /api/auth/validate", "", "", 401, `"valid":false`},
		{"GET /api/users", "", "", 401, `"error"`},
		{"GET /api/users", "broken", "", 403, `"error"`},
		{"GET /api/users/3", token, "", 200, `"path":"/users/3"`},
		{"PUT /api/users/7", token, `{"full_name":"Ann"}`, 200, `"full_name":"Ann"`},
		{"DELETE /api/users/8", token, "", 403, `"error"`},
		{"GET /api/products?search=mouse", "", "", 200, `"path":"/products?search=mouse"`},
		{"GET /api/products/category/Office", "", "", 200, `"path":"/products/category/Office"`},
		{"GET /api/products/99", "", "", 404, `{"error":"Product not found"}`},
		{"GET /api/orders", token, "", 200, `"path":"/orders"`},
		{"GET /api/orders/my-orders", token, "", 200, `"path":"/orders/user/7"`},
		{"GET /api/orders/my-orders", "", "", 401, `"error"`},
		{"POST /api/orders", token, `{"user_id":1,"items":[]}`, 200, `"user_id":7`},
		{"GET /api/orders/1", token, "", 200, `"user_id":7`},
		{"GET /api/orders/2", token, "", 403, `"error"`},
		{"POST /api/orders/1/pay", token, `{"payment_method":"card"}`, 200, `"payment_method":"card"`},
		{"PATCH /api/orders/1/status", token, `{"status":"x"}`, 400, `"Invalid status transition\n"`},
		{"POST /api/chaos/inject/latency", "", `{"min_ms":1}`, 200, `"sent":{}`},
		{"POST /api/chaos/inject/error", "", "{}", 500, "Request failed with status code 418"},
		{"PUT /api/chaos/config", "", "{}", 404, "Cannot PUT /api/chaos/config"},
		{"GET /", "", "", 404, "<!DOCTYPE html>"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		status, body := call(t, handler, method, path, c.token, c.body)
		wants(t, c.request, status, body, c.status, c.part)
	}
}

func TestATokenNeedsTheKeyOfAllGateways(t *testing.T) {
	g, handler := behind(t)
	if string(g.key) != "your-secret-key" {
		t.Error("the default of JWT_SECRET")
	}
	t.Setenv("JWT_SECRET", "another")
	other, _ := newGateway()
	token, _ := other.sign(user{ID: 7})
	status, body := call(t, handler, "GET", "/api/users", token, "")
	wants(t, "another key", status, body, 403, "error")
	unsigned, _ := jwt.NewWithClaims(jwt.SigningMethodNone, claims{UserID: 7}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	status, body = call(t, handler, "GET", "/api/users", unsigned, "")
	wants(t, "no signature", status, body, 403, "error")
}

func TestAServiceThatIsAwayIsAnErrorOfTheGateway(t *testing.T) {
	g, handler := behind(t)
	g.products = "http://127.0.0.1:1"
	_, handler = g, g.handler()
	status, body := call(t, handler, "GET", "/api/products", "", "")
	wants(t, "refused", status, body, 500, `{"error":"connect ECONNREFUSED 127.0.0.1:1"}`)
	if got := nodeError(&net.DNSError{Name: "user-service", IsNotFound: true}); got != "getaddrinfo ENOTFOUND user-service" {
		t.Error(got)
	}
}

func TestTheHundredAndFirstRequestOfAMinuteIsRefused(t *testing.T) {
	g, handler := behind(t)
	g.patience = 50 * time.Millisecond
	for range 100 {
		if status, _ := call(t, handler, "GET", "/api/products", "", ""); status != 200 {
			t.Fatal(status)
		}
	}
	start := time.Now()
	status, body := call(t, handler, "GET", "/api/products", "", "")
	wants(t, "the 101st", status, body, 429, "error")
	if took := time.Since(start); took < g.patience || took > 10*g.patience {
		t.Errorf("the answer waits for a broker that is away for a while: %s", took)
	}
	status, body = call(t, handler, "GET", "/health", "", "")
	wants(t, "not limited", status, body, 200, "healthy")

	now := time.Now()
	if g.limit.allows("192.0.2.1", now) || !g.limit.allows("192.0.2.2", now) || !g.limit.allows("192.0.2.1", now.Add(time.Minute)) {
		t.Error("the limit is one of a client and a window")
	}
}

func TestRedisLostIsTheEndRedisAbsentIsNot(t *testing.T) {
	if err := watchRedis("redis://127.0.0.1:1", nil); err == nil {
		t.Error("there is no Redis")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		connection.Read(make([]byte, 100))
		connection.Write([]byte("+PONG\r\n"))
		connection.Close()
	}()
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := watchRedis("redis://"+listener.Addr().String(), cancel); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if !strings.Contains(context.Cause(ctx).Error(), "Redis is lost") {
		t.Error(context.Cause(ctx))
	}
}

// ---- the others

func TestTheWorkerMiscountsAsTheApplicationDoes(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorker(registry)
	w.handle(stockLow, []byte(`{"stock": 5}`))
	w.handle(stockLow, []byte(`nonsense`))
	expected := `
# HELP notification_messages_consumed_total notification_messages_consumed_total
# TYPE notification_messages_consumed_total counter
notification_messages_consumed_total{topic="stock.low"} 2
# HELP notification_messages_failed_total notification_messages_failed_total
# TYPE notification_messages_failed_total counter
notification_messages_failed_total{error_type="JSONDecodeError",topic="stock.low"} 1
notification_messages_failed_total{error_type="ValueError",topic="stock.low"} 1
`
	names := []string{"notification_messages_consumed_total", "notification_messages_failed_total", "notification_messages_processed_total"}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(expected), names...); err != nil {
		t.Error(err)
	}
	if len(consumed) != 7 || slices.Contains(consumed, productCreated) {
		t.Error(consumed)
	}
}

func TestTheGeneratorCountsOnlyTriesWithoutAnAnswer(t *testing.T) {
	answers := 0
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answers++; answers < 10 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer gateway.Close()
	if g := (generator{gateway: gateway.URL}); !g.wait(t.Context(), 3, 0) || answers != 10 {
		t.Errorf("%d answers", answers)
	}
	if g := (generator{gateway: "http://127.0.0.1:1"}); g.wait(t.Context(), 30, 0) {
		t.Error("there is no gateway")
	}
	counts := map[string]int{}
	for percent := range 100 {
		counts[choose(percent)]++
	}
	if fmt.Sprint(counts) != "map[/api/products:30 /api/products/1:20 /api/products/category/Electronics:15 /health:35]" {
		t.Error(counts)
	}
}

func TestTheFrontend(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "gateway %s %s", r.Host, r.URL.RequestURI())
	}))
	handler := marked(frontend(gateway.Listener.Addr().String()))
	status, body := call(t, handler, "GET", "/api/products?x=1", "", "")
	wants(t, "/api", status, body, 200, "gateway example.com /api/products?x=1")
	for _, path := range []string{"/", "/orders/1", "/health"} {
		status, body := call(t, handler, "GET", path, "", "")
		wants(t, path, status, body, 200, `<div id="root">`)
	}
	gateway.Close()
	status, body = call(t, handler, "GET", "/api/products", "", "")
	wants(t, "no gateway", status, body, 502, "")

	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	if answer.Header().Get("X-Lab-Stand-In") != "true" {
		t.Error("it does not say that it is a stand-in")
	}
}

func TestServingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := serve(ctx, "0", http.NotFoundHandler()); err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
