package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/lib/pq"
)

const databaseURL = "postgresql://cloudcart:cloudcart123@postgres:5432/cloudcart"

// open connects to a database, or fails at once.
func open(ctx context.Context, address string) (*sql.DB, error) {
	db, err := sql.Open("postgres", address)
	if err == nil {
		err = db.PingContext(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("the database cannot be reached: %w", err)
	}
	return db, nil
}

// pythonAddress returns DATABASE_URL as SQLAlchemy understands it: it knows one scheme, and TLS is not demanded.
func pythonAddress() (string, error) {
	address := setting("DATABASE_URL", databaseURL)
	parsed, err := url.Parse(address)
	switch {
	case err != nil || parsed.Scheme == "" || parsed.Host == "":
		return "", errors.New("DATABASE_URL: could not parse SQLAlchemy URL")
	case parsed.Scheme != "postgresql":
		return "", fmt.Errorf("DATABASE_URL: can't load plugin: sqlalchemy.dialects:%s", parsed.Scheme)
	}
	if parameters := parsed.Query(); !parameters.Has("sslmode") {
		parameters.Set("sslmode", "disable") // libpq prefers TLS; the driver here would demand it
		parsed.RawQuery = parameters.Encode()
	}
	return parsed.String(), nil
}

// openPython opens the database of a Python service, which makes its own table.
func openPython(ctx context.Context, table string) (*sql.DB, error) {
	address, err := pythonAddress()
	if err != nil {
		return nil, err
	}
	db, err := open(ctx, address)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, table); err != nil {
		return nil, err
	}
	return db, nil
}

// rows reads every row of a query; no rows are an empty list.
func rows[T any](ctx context.Context, db *sql.DB, scan func(interface{ Scan(...any) error }) (T, error), query string, args ...any) ([]T, error) {
	found, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	items := []T{}
	for found.Next() {
		item, err := scan(found)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, found.Err()
}

// violates returns the name of the constraint that a statement broke ("" if it broke none).
func violates(err error) string {
	var problem *pq.Error
	if errors.As(err, &problem) && strings.HasPrefix(string(problem.Code), "23") {
		return problem.Constraint
	}
	return ""
}
