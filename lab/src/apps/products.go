package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

const productsTable = `CREATE TABLE IF NOT EXISTS products (
	id SERIAL PRIMARY KEY,
	name VARCHAR(255) NOT NULL,
	description TEXT,
	price NUMERIC(10, 2) NOT NULL,
	stock INTEGER NOT NULL,
	category VARCHAR(100),
	image_url VARCHAR(500),
	created_at TIMESTAMPTZ DEFAULT now(),
	updated_at TIMESTAMPTZ DEFAULT now())`

const (
	productColumns = "id, name, description, price, stock, category, image_url, created_at, updated_at"
	lowStock       = 10
)

type product struct {
	ID          int     `json:"id"`
	Name        string  `json:"name"`
	Description *string `json:"description"`
	Price       float64 `json:"price"`
	Stock       int     `json:"stock"`
	Category    *string `json:"category"`
	ImageURL    *string `json:"image_url"`
	CreatedAt   moment  `json:"created_at"`
	UpdatedAt   moment  `json:"updated_at"`
}

func scanProduct(row interface{ Scan(...any) error }) (p product, err error) {
	err = row.Scan(&p.ID, &p.Name, &p.Description, &p.Price, &p.Stock, &p.Category, &p.ImageURL, &p.CreatedAt, &p.UpdatedAt)
	return p, err
}

// productInput is what a client sends; what it leaves out is nil.
type productInput struct {
	Name, Description, Category *string
	ImageURL                    *string `json:"image_url"`
	Price                       *float64
	Stock                       *int
}

type productService struct {
	db              *sql.DB
	events          events
	updates, alerts *prometheus.CounterVec
}

func runProducts(ctx context.Context) error {
	db, err := openPython(ctx, productsTable)
	if err != nil {
		return err
	}
	registry := newRegistry()
	requests := counter(registry, "product_http_requests_total", "method", "endpoint", "status")
	s := productService{
		db:      db,
		events:  sender(ctx),
		updates: counter(registry, "product_stock_updates_total"),
		alerts:  counter(registry, "inventory_alerts_total", "severity"),
	}
	defer s.events.close()
	mux := base("product-service", registry, flaskNotFound, nil)
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /products":                     s.list,
		"GET /products/category/{category}": s.list,
		"POST /products":                    s.create,
		"GET /products/{id}": s.one(func(r *http.Request, id int) *sql.Row {
			return db.QueryRowContext(r.Context(), "SELECT "+productColumns+" FROM products WHERE id = $1", id)
		}),
		"PUT /products/{id}":         s.update,
		"DELETE /products/{id}":      s.delete,
		"PATCH /products/{id}/stock": s.setStock,
	} {
		mux.HandleFunc(pattern, counted(requests, handler))
	}
	return serve(ctx, setting("PORT", "8002"), mux)
}

func flaskNotFound(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	w.Write([]byte("<!doctype html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"))
}

func (s productService) list(w http.ResponseWriter, r *http.Request) {
	category := r.PathValue("category")
	if category == "" {
		category = r.URL.Query().Get("category")
	}
	products, err := rows(r.Context(), s.db, scanProduct, "SELECT "+productColumns+` FROM products
		WHERE ($1 = '' OR category = $1) AND ($2 = '' OR strpos(lower(name), lower($2)) > 0) ORDER BY id`,
		category, r.URL.Query().Get("search"))
	if err != nil {
		failed(w, err)
		return
	}
	reply(w, http.StatusOK, products)
}

func (s productService) create(w http.ResponseWriter, r *http.Request) {
	var body productInput
	err := decode(r, &body)
	if err == nil && (body.Name == nil || body.Price == nil) {
		err = errors.New("KeyError: name and price are required")
	}
	if err != nil {
		failed(w, err)
		return
	}
	p, err := scanProduct(s.db.QueryRowContext(r.Context(), `INSERT INTO products (name, description, price, stock, category, image_url)
		VALUES ($1, $2, $3, coalesce($4, 0), $5, $6) RETURNING `+productColumns,
		body.Name, body.Description, body.Price, body.Stock, body.Category, body.ImageURL))
	if err != nil {
		failed(w, err)
		return
	}
	s.events.send(r.Context(), productCreated, object{"product_id": p.ID, "name": p.Name, "category": p.Category})
	reply(w, http.StatusCreated, p)
}

func (s productService) update(w http.ResponseWriter, r *http.Request) {
	var body productInput
	if err := decode(r, &body); err != nil {
		failed(w, err)
		return
	}
	s.one(func(r *http.Request, id int) *sql.Row {
		return s.db.QueryRowContext(r.Context(), `UPDATE products SET name = coalesce($2, name), description = coalesce($3, description),
			price = coalesce($4, price), stock = coalesce($5, stock), category = coalesce($6, category),
			image_url = coalesce($7, image_url), updated_at = now() WHERE id = $1 RETURNING `+productColumns,
			id, body.Name, body.Description, body.Price, body.Stock, body.Category, body.ImageURL)
	})(w, r)
}

func (s productService) delete(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	var deleted int
	err := s.db.QueryRowContext(r.Context(), "DELETE FROM products WHERE id = $1 RETURNING id", id).Scan(&deleted)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		productNotFound(w)
	case err != nil:
		failed(w, err)
	default:
		reply(w, http.StatusOK, object{"message": "Product deleted successfully"})
	}
}

func (s productService) setStock(w http.ResponseWriter, r *http.Request) {
	var body struct{ Stock *int }
	err := decode(r, &body)
	if err == nil && body.Stock == nil {
		err = errors.New("KeyError: stock is required")
	}
	if err != nil {
		failed(w, err)
		return
	}
	id, _ := strconv.Atoi(r.PathValue("id"))
	var name string
	var before int
	err = s.db.QueryRowContext(r.Context(), `UPDATE products new SET stock = $2, updated_at = now()
		FROM (SELECT id, stock FROM products WHERE id = $1 FOR UPDATE) old WHERE new.id = old.id
		RETURNING new.name, old.stock`, id, *body.Stock).Scan(&name, &before)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		productNotFound(w)
		return
	case err != nil:
		failed(w, err)
		return
	}
	s.updates.WithLabelValues().Inc()
	if runsLow(before, *body.Stock) {
		s.alerts.WithLabelValues("warning").Inc()
		s.events.send(r.Context(), stockLow, object{"product_id": id, "product_name": name, "stock": *body.Stock})
	}
	reply(w, http.StatusOK, object{"id": id, "name": name, "stock": *body.Stock, "message": "Stock updated successfully"})
}

// runsLow tells whether a change makes a product one of which little is left.
func runsLow(before, after int) bool { return before >= lowStock && after < lowStock }

// one answers with the product that a statement gives, if it gives one.
func (s productService) one(query func(r *http.Request, id int) *sql.Row) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			flaskNotFound(w, r)
			return
		}
		p, err := scanProduct(query(r, id))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			productNotFound(w)
		case err != nil:
			failed(w, err)
		default:
			reply(w, http.StatusOK, p)
		}
	}
}

func productNotFound(w http.ResponseWriter) {
	reply(w, http.StatusNotFound, object{"error": "Product not found"})
}
