-- The shop's tables, its indexes and its first seven products.
-- Safe to run at any time, any number of times and by several runs at once: one transaction, one lock, and nothing
-- that exists is touched. No dollar sign may stand here: Kubernetes would expand it on the way to psql.
BEGIN;
SET LOCAL client_min_messages = warning;

-- Runs queue up here; a statement after the lock sees what the run before it committed. The number means "cloudcart schema".
SELECT pg_advisory_xact_lock(4242001);

CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    username VARCHAR(100) NOT NULL UNIQUE,
    email VARCHAR(255) NOT NULL UNIQUE,
    password_hash VARCHAR(255) NOT NULL,
    full_name VARCHAR(255),
    is_admin BOOLEAN DEFAULT FALSE,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS products (
    id SERIAL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    description TEXT,
    price NUMERIC(10, 2) NOT NULL,
    stock INTEGER NOT NULL DEFAULT 0,
    category VARCHAR(100),
    image_url VARCHAR(500),
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS orders (
    id SERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id),
    total_amount NUMERIC(10, 2) NOT NULL,
    status VARCHAR(50) DEFAULT 'pending',
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS order_items (
    id SERIAL PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    product_id INTEGER NOT NULL REFERENCES products (id),
    product_name VARCHAR(255),
    quantity INTEGER NOT NULL,
    price NUMERIC(10, 2) NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX IF NOT EXISTS idx_users_email ON users (email);
CREATE INDEX IF NOT EXISTS idx_products_category ON products (category);
CREATE INDEX IF NOT EXISTS idx_orders_user_id ON orders (user_id);
CREATE INDEX IF NOT EXISTS idx_orders_status ON orders (status);
CREATE INDEX IF NOT EXISTS idx_order_items_order_id ON order_items (order_id);
CREATE INDEX IF NOT EXISTS idx_order_items_product_id ON order_items (product_id);

-- The ids are written out because clients ask for them by number, and a sequence keeps the numbers of a killed attempt.
WITH first_products AS (
    INSERT INTO products (id, name, description, price, stock, category)
    SELECT *
    FROM (
        VALUES
        (1, 'Laptop X 15', 'A fast laptop for professional work', 1299.99, 50, 'Electronics'),
        (2, 'Wireless Mouse', 'A mouse without a cable that fits the hand', 29.99, 200, 'Accessories'),
        (3, 'Mechanical Keyboard', 'A keyboard with mechanical switches, made for games', 89.99, 75, 'Accessories'),
        (4, 'Monitor 27"', 'A 27 inch screen with 4K UHD resolution', 399.99, 30, 'Electronics'),
        (5, 'Desk Lamp', 'An LED lamp that can be dimmed and turned', 34.99, 120, 'Office'),
        (6, 'Notebook Set', 'Three paper notebooks', 19.99, 300, 'Office'),
        (7, 'Backpack', 'A bag for a laptop, with a USB socket for charging', 59.99, 80, 'Accessories')
    ) AS seed
    WHERE NOT EXISTS (SELECT 1 FROM products)
    RETURNING id
)

SELECT setval(pg_get_serial_sequence('products', 'id'), max(id))
FROM first_products
HAVING count(*) > 0;

COMMIT;
