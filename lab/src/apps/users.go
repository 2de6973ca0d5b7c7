package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/mail"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"
)

const usersTable = `CREATE TABLE IF NOT EXISTS users (
	id SERIAL PRIMARY KEY,
	username VARCHAR(100) UNIQUE NOT NULL,
	email VARCHAR(255) UNIQUE NOT NULL,
	password_hash VARCHAR(255) NOT NULL,
	full_name VARCHAR(255),
	is_admin BOOLEAN NOT NULL,
	created_at TIMESTAMPTZ DEFAULT now(),
	updated_at TIMESTAMPTZ DEFAULT now())`

const userColumns = "id, username, email, full_name, is_admin, created_at, updated_at"

type user struct {
	ID        int     `json:"id"`
	Username  string  `json:"username"`
	Email     string  `json:"email"`
	FullName  *string `json:"full_name"`
	IsAdmin   bool    `json:"is_admin"`
	CreatedAt moment  `json:"created_at"`
	UpdatedAt moment  `json:"updated_at"`
}

func scanUser(row interface{ Scan(...any) error }) (u user, err error) {
	err = row.Scan(&u.ID, &u.Username, &u.Email, &u.FullName, &u.IsAdmin, &u.CreatedAt, &u.UpdatedAt)
	return u, err
}

type userService struct {
	db                               *sql.DB
	events                           events
	registrations, logins, published *prometheus.CounterVec
}

func runUsers(ctx context.Context) error {
	db, err := openPython(ctx, usersTable)
	if err != nil {
		return err
	}
	registry := newRegistry()
	s := userService{
		db:            db,
		events:        sender(ctx),
		registrations: counter(registry, "user_registrations_total", "status"),
		logins:        counter(registry, "user_logins_total", "success"),
		published:     counter(registry, "user_kafka_events_published_total", "topic", "status"),
	}
	defer s.events.close()
	mux := base("user-service", registry, fastAPINotFound, nil)
	mux.HandleFunc("POST /users", s.create)
	mux.HandleFunc("POST /auth/validate-password", s.validate)
	mux.HandleFunc("GET /users", s.list)
	mux.HandleFunc("GET /users/{id}", s.one(func(r *http.Request, id int) *sql.Row {
		return db.QueryRowContext(r.Context(), "SELECT "+userColumns+" FROM users WHERE id = $1", id)
	}))
	mux.HandleFunc("PUT /users/{id}", s.update)
	mux.HandleFunc("DELETE /users/{id}", s.delete)
	return serve(ctx, setting("PORT", "8001"), mux)
}

func (s userService) create(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Username, Email, Password *string
		FullName                  *string `json:"full_name"`
	}
	if err := decode(r, &body); err != nil || body.Username == nil || body.Email == nil || body.Password == nil {
		detail(w, http.StatusUnprocessableEntity, []object{{"type": "missing", "msg": "username, email and password are required"}})
		return
	}
	if problem := badEmail(*body.Email); problem != "" {
		detail(w, http.StatusUnprocessableEntity, []object{{"type": "value_error", "loc": []string{"body", "email"}, "msg": problem}})
		return
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(*body.Password), 12)
	if err != nil {
		failed(w, err)
		return
	}
	u, err := scanUser(s.db.QueryRowContext(r.Context(),
		"INSERT INTO users (username, email, password_hash, full_name, is_admin) VALUES ($1, $2, $3, $4, false) RETURNING "+userColumns,
		*body.Username, *body.Email, string(hash), body.FullName))
	if constraint := violates(err); constraint != "" {
		s.registrations.WithLabelValues("failed").Inc()
		if strings.Contains(constraint, "email") {
			detail(w, http.StatusBadRequest, "Email already registered")
		} else {
			detail(w, http.StatusBadRequest, "Username already registered")
		}
		return
	}
	if err != nil {
		failed(w, err)
		return
	}
	s.registrations.WithLabelValues("success").Inc()
	s.events.send(r.Context(), userCreated, object{"user_id": u.ID, "username": u.Username, "email": u.Email})
	s.published.WithLabelValues(userCreated, "success").Inc() // with or without Kafka, as the application does
	reply(w, http.StatusCreated, u)
}

func (s userService) validate(w http.ResponseWriter, r *http.Request) {
	var body struct{ Username, Password string }
	if err := decode(r, &body); err != nil {
		detail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	var hash string
	var u user
	err := s.db.QueryRowContext(r.Context(), "SELECT password_hash, "+userColumns+" FROM users WHERE username = $1", body.Username).
		Scan(&hash, &u.ID, &u.Username, &u.Email, &u.FullName, &u.IsAdmin, &u.CreatedAt, &u.UpdatedAt)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		failed(w, err)
		return
	}
	valid := err == nil && bcrypt.CompareHashAndPassword([]byte(hash), []byte(body.Password)) == nil
	s.logins.WithLabelValues(strconv.FormatBool(valid)).Inc()
	if valid {
		reply(w, http.StatusOK, object{"valid": true, "user": u})
	} else {
		reply(w, http.StatusOK, object{"valid": false, "user": nil})
	}
}

func (s userService) list(w http.ResponseWriter, r *http.Request) {
	users, err := rows(r.Context(), s.db, scanUser, "SELECT "+userColumns+" FROM users ORDER BY id")
	if err != nil {
		failed(w, err)
		return
	}
	reply(w, http.StatusOK, users)
}

func (s userService) update(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Email    *string
		FullName *string `json:"full_name"`
	}
	if err := decode(r, &body); err != nil {
		detail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	if body.Email != nil && badEmail(*body.Email) != "" {
		detail(w, http.StatusUnprocessableEntity, badEmail(*body.Email))
		return
	}
	s.one(func(r *http.Request, id int) *sql.Row {
		return s.db.QueryRowContext(r.Context(),
			"UPDATE users SET email = coalesce($2, email), full_name = coalesce($3, full_name), updated_at = now() WHERE id = $1 RETURNING "+userColumns,
			id, body.Email, body.FullName)
	})(w, r)
}

func (s userService) delete(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	var deleted int
	err := s.db.QueryRowContext(r.Context(), "DELETE FROM users WHERE id = $1 RETURNING id", id).Scan(&deleted)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		detail(w, http.StatusNotFound, "User not found")
	case err != nil:
		failed(w, err)
	default:
		reply(w, http.StatusOK, object{"message": "User deleted successfully"})
	}
}

// one answers with the user that a statement gives, if it gives one.
func (s userService) one(query func(r *http.Request, id int) *sql.Row) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil {
			detail(w, http.StatusUnprocessableEntity, "the id is no number")
			return
		}
		u, err := scanUser(query(r, id))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			detail(w, http.StatusNotFound, "User not found")
		case err != nil:
			failed(w, err)
		default:
			reply(w, http.StatusOK, u)
		}
	}
}

// badEmail says what is wrong with an address, by the rules of the strict validator that the application uses.
func badEmail(address string) string {
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address {
		return "value is not a valid email address"
	}
	labels := strings.Split(strings.ToLower(address[strings.LastIndex(address, "@")+1:]), ".")
	switch {
	case len(labels) < 2 || slices.Contains(labels, ""):
		return "value is not a valid email address: the part after the @-sign is not valid"
	case slices.Contains([]string{"local", "localhost", "test", "invalid", "onion", "arpa"}, labels[len(labels)-1]):
		return "value is not a valid email address: the part after the @-sign is a special-use or reserved name"
	}
	return ""
}
