package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
)

const awaitingPayment = "awaiting_payment"

// transitions are the states that may follow a state; those that are not named are final.
var transitions = map[string][]string{
	awaitingPayment: {"confirmed", "cancelled"},
	"confirmed":     {"shipped", "cancelled"},
	"shipped":       {"delivered", "returned"},
	"delivered":     {"returned"},
}

type orderItem struct {
	ID          int       `json:"id"`
	OrderID     int       `json:"order_id"`
	ProductID   int       `json:"product_id"`
	ProductName string    `json:"product_name"`
	Quantity    int       `json:"quantity"`
	Price       float64   `json:"price"`
	CreatedAt   time.Time `json:"created_at"`
}

type order struct {
	ID          int         `json:"id"`
	UserID      int         `json:"user_id"`
	TotalAmount float64     `json:"total_amount"`
	Status      string      `json:"status"`
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
	Items       []orderItem `json:"items"`
}

func scanOrder(row interface{ Scan(...any) error }) (o order, err error) {
	err = row.Scan(&o.ID, &o.UserID, &o.TotalAmount, &o.Status, &o.CreatedAt, &o.UpdatedAt)
	return o, err
}

func scanItem(row interface{ Scan(...any) error }) (i orderItem, err error) {
	err = row.Scan(&i.ID, &i.OrderID, &i.ProductID, &i.ProductName, &i.Quantity, &i.Price, &i.CreatedAt)
	return i, err
}

type orderService struct {
	db                            *sql.DB
	events                        events
	products                      string
	created, cancelled, completed *prometheus.CounterVec
}

func runOrders(ctx context.Context) error {
	// Without sslmode in the address the driver demands TLS. No table is made here.
	db, err := open(ctx, setting("DATABASE_URL", databaseURL+"?sslmode=disable"))
	if err != nil {
		return err
	}
	registry := newRegistry()
	s := orderService{
		db: db,
		// Lazy, waits a second for more events, asks for no acknowledgement, makes no topic: the library's defaults.
		events:    events{&kafka.Writer{Addr: kafka.TCP(brokers()...)}},
		products:  setting("PRODUCT_SERVICE_URL", "http://product-service:8002"),
		created:   counter(registry, "orders_created_total"),
		cancelled: counter(registry, "orders_cancelled_total"),
		completed: counter(registry, "orders_completed_total"),
	}
	defer s.events.close()
	mux := base("order-service", registry, http.NotFound, nil)
	mux.HandleFunc("POST /orders", counted(counter(registry, "order_http_requests_total", "method", "endpoint", "status"), s.create))
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) { s.list(w, r, "") })
	mux.HandleFunc("GET /orders/{id}", s.get)
	mux.HandleFunc("GET /orders/user/{id}", func(w http.ResponseWriter, r *http.Request) {
		if id, ok := orderID(w, r); ok {
			s.list(w, r, " WHERE user_id = $1", id)
		}
	})
	mux.HandleFunc("PATCH /orders/{id}/status", s.setStatus)
	mux.HandleFunc("POST /orders/{id}/pay", s.pay)
	return serve(ctx, setting("PORT", "8003"), mux)
}

func (s orderService) create(w http.ResponseWriter, r *http.Request) {
	var body order
	if err := decode(r, &body); err != nil {
		http.Error(w, "Invalid request body", http.StatusBadRequest)
		return
	}
	if len(body.Items) == 0 {
		http.Error(w, "Order must contain at least one item", http.StatusBadRequest)
		return
	}
	for i, item := range body.Items {
		body.Items[i].ProductName = s.productName(r.Context(), item.ProductID)
	}
	o, err := s.insert(r.Context(), body)
	if err != nil {
		orderFailed(w, err)
		return
	}
	s.created.WithLabelValues().Inc()
	s.events.send(r.Context(), orderCreated, object{
		"order_id": o.ID, "user_id": o.UserID, "total_amount": o.TotalAmount, "status": o.Status, "items": len(o.Items),
	})
	reply(w, http.StatusCreated, o)
}

// insert writes an order; its total is that of the prices the client sent.
func (s orderService) insert(ctx context.Context, body order) (o order, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return o, err
	}
	defer tx.Rollback()
	o, err = scanOrder(tx.QueryRowContext(ctx, `INSERT INTO orders (user_id, total_amount, status, created_at, updated_at)
		VALUES ($1, $2, $3, now(), now()) RETURNING id, user_id, total_amount, status, created_at, updated_at`,
		body.UserID, total(body.Items), awaitingPayment))
	if err != nil {
		return o, err
	}
	for _, item := range body.Items {
		item, err := scanItem(tx.QueryRowContext(ctx, `INSERT INTO order_items (order_id, product_id, product_name, quantity, price, created_at)
			VALUES ($1, $2, $3, $4, $5, now()) RETURNING id, order_id, product_id, product_name, quantity, price, created_at`,
			o.ID, item.ProductID, item.ProductName, item.Quantity, item.Price))
		if err != nil {
			return o, err
		}
		o.Items = append(o.Items, item)
	}
	return o, tx.Commit()
}

func total(items []orderItem) (sum float64) {
	for _, item := range items {
		sum += item.Price * float64(item.Quantity)
	}
	return sum
}

// find returns the orders that a condition selects, with their items, newest first.
func (s orderService) find(ctx context.Context, condition string, args ...any) ([]order, error) {
	orders, err := rows(ctx, s.db, scanOrder,
		"SELECT id, user_id, total_amount, status, created_at, updated_at FROM orders"+condition+" ORDER BY created_at DESC, id DESC", args...)
	if err != nil {
		return nil, err
	}
	ids := make([]int, len(orders))
	for i, o := range orders {
		ids[i] = o.ID
	}
	items, err := rows(ctx, s.db, scanItem, `SELECT id, order_id, product_id, product_name, quantity, price, created_at
		FROM order_items WHERE order_id = ANY($1) ORDER BY id`, pq.Array(ids))
	for _, item := range items {
		at := slices.Index(ids, item.OrderID)
		orders[at].Items = append(orders[at].Items, item)
	}
	return orders, err
}

// load returns the order of a request's path; where there is none, the answer has been given.
func (s orderService) load(w http.ResponseWriter, r *http.Request) (o order, ok bool) {
	id, ok := orderID(w, r)
	if !ok {
		return o, false
	}
	orders, err := s.find(r.Context(), " WHERE id = $1", id)
	switch {
	case err != nil:
		orderFailed(w, err)
	case len(orders) == 0:
		http.Error(w, "Order not found", http.StatusNotFound)
	default:
		return orders[0], true
	}
	return o, false
}

func (s orderService) list(w http.ResponseWriter, r *http.Request, condition string, args ...any) {
	orders, err := s.find(r.Context(), condition, args...)
	if err != nil {
		orderFailed(w, err)
		return
	}
	reply(w, http.StatusOK, orders)
}

func (s orderService) get(w http.ResponseWriter, r *http.Request) {
	if o, ok := s.load(w, r); ok {
		reply(w, http.StatusOK, o)
	}
}

func (s orderService) setStatus(w http.ResponseWriter, r *http.Request) {
	var body struct{ Status string }
	if err := decode(r, &body); err != nil {
		http.Error(w, "Invalid request body", http.StatusBadRequest)
		return
	}
	o, ok := s.load(w, r)
	if !ok {
		return
	}
	if !slices.Contains(transitions[o.Status], body.Status) {
		http.Error(w, fmt.Sprintf("Invalid status transition from %s to %s", o.Status, body.Status), http.StatusBadRequest)
		return
	}
	old, err := s.change(r.Context(), &o, body.Status)
	if err != nil {
		orderFailed(w, err)
		return
	}
	switch o.Status {
	case "cancelled":
		s.cancelled.WithLabelValues().Inc()
	case "delivered":
		s.completed.WithLabelValues().Inc()
	}
	s.statusChanged(r.Context(), o, old)
	reply(w, http.StatusOK, o)
}

func (s orderService) pay(w http.ResponseWriter, r *http.Request) {
	var body struct {
		PaymentMethod string `json:"payment_method"`
	}
	if err := decode(r, &body); err != nil {
		http.Error(w, "Invalid request body", http.StatusBadRequest)
		return
	}
	o, ok := s.load(w, r)
	if !ok {
		return
	}
	if o.Status != awaitingPayment {
		http.Error(w, "Order is not awaiting payment", http.StatusBadRequest)
		return
	}
	old, err := s.change(r.Context(), &o, "confirmed")
	if err != nil {
		orderFailed(w, err)
		return
	}
	for _, item := range o.Items {
		if err := s.lowerStock(r.Context(), item); err != nil {
			log.Printf("the stock of product %d stays as it is: %v", item.ProductID, err)
		}
	}
	s.events.send(r.Context(), paymentConfirmed, object{
		"order_id": o.ID, "user_id": o.UserID, "total_amount": o.TotalAmount, "payment_method": body.PaymentMethod,
		"item_count": len(o.Items), "message": fmt.Sprintf("Payment confirmed for order %d", o.ID),
	})
	s.statusChanged(r.Context(), o, old)
	reply(w, http.StatusOK, o)
}

// change moves an order to another state, and returns the state it had.
func (s orderService) change(ctx context.Context, o *order, status string) (old string, err error) {
	old, o.Status = o.Status, status
	return old, s.db.QueryRowContext(ctx, "UPDATE orders SET status = $2, updated_at = now() WHERE id = $1 RETURNING updated_at", o.ID, status).
		Scan(&o.UpdatedAt)
}

func (s orderService) statusChanged(ctx context.Context, o order, old string) {
	s.events.send(ctx, statusChanged, object{
		"order_id": o.ID, "user_id": o.UserID, "old_status": old, "new_status": o.Status, "total_amount": o.TotalAmount,
		"item_count": len(o.Items), "message": fmt.Sprintf("Order %d status changed from %s to %s", o.ID, old, o.Status),
	})
}

// productName returns the name of a product, empty where the product service does not tell it.
func (s orderService) productName(ctx context.Context, id int) string {
	p, err := s.product(ctx, id)
	if err != nil {
		log.Printf("the name of product %d stays empty: %v", id, err)
	}
	return p.Name
}

// known is what the order service reads of a product.
type known struct {
	Name  string
	Stock int
}

func (s orderService) product(ctx context.Context, id int) (p known, err error) {
	err = s.call(ctx, http.MethodGet, fmt.Sprintf("/products/%d", id), nil, &p)
	return p, err
}

func (s orderService) lowerStock(ctx context.Context, item orderItem) error {
	p, err := s.product(ctx, item.ProductID)
	if err != nil {
		return err
	}
	return s.call(ctx, http.MethodPatch, fmt.Sprintf("/products/%d/stock", item.ProductID), object{"stock": max(0, p.Stock-item.Quantity)}, nil)
}

// call asks the product service for something, five seconds at most.
func (s orderService) call(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, s.products+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// orderID returns the number in a request's path; where there is none, the answer has been given.
func orderID(w http.ResponseWriter, r *http.Request) (int, bool) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		http.Error(w, "Invalid ID", http.StatusBadRequest)
	}
	return id, err == nil
}

func orderFailed(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}
