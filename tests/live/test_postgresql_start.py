# Copyright (c) 2026 CloudCartOps contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first start of PostgreSQL, killed at any moment: the script and the schema of the role, without a cluster."""

from __future__ import annotations

import pathlib
import re
import subprocess
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ROOT / "roles/postgresql/files"
NAME = "cc-live-postgresql"
PASSWORD = 'it\'s "$odd" \\ `here`'
NEW, FINAL = "pgdata.new", "pgdata"
# In the order in which initialise.sh comes to them.
MOMENTS = {
    "a folder": lambda data: (data / NEW).exists(),
    "a version": lambda data: (data / NEW / "PG_VERSION").exists(),
    "a second database": lambda data: len(list((data / NEW).glob("base/*"))) > 1,
    "its own settings": lambda data: "'*'" in text(data / NEW / "postgresql.conf"),
    "a whole database": lambda data: (data / FINAL / "PG_VERSION").exists(),
}


def text(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


def podman(*arguments, check=True, **options):
    command = ["podman", "--runtime", "runc", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0 or not check, f"podman {arguments[0]}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def image():
    made = subprocess.run([ROOT / "lab/lab", "bundle"], check=True, stdout=subprocess.PIPE, text=True)
    bundle = pathlib.Path(made.stdout.splitlines()[-1])
    entry = yaml.safe_load((bundle / "lock.yml").read_text(encoding="utf-8"))["images"]["postgresql"]
    podman("load", "--quiet", "--input", str(bundle / entry["files"]["linux-amd64"]["file"]))
    yield entry["ref"]
    podman("rmi", "--ignore", entry["ref"], check=False)  # it stays when others use it


@pytest.fixture
def start(image, tmp_path_factory):
    """A function that runs a shell script in a container as the pod has it; the volume and the credentials stay."""
    folder = tmp_path_factory.mktemp("postgresql")
    data, secrets = folder / "data", folder / "secrets"
    for path in (folder, data, secrets):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    escaped = "".join("\\" + c if c in '\\"$`' else c for c in PASSWORD)
    values = {"POSTGRES_USER": "cloudcart", "POSTGRES_PASSWORD": escaped, "POSTGRES_DB": "cloudcart"}
    (secrets / "database").write_text("".join(f'export {k}="{v}"\n' for k, v in values.items()), encoding="utf-8")

    def run(script, *options, check=True):
        return podman(
            *("run", "--replace", "--name", NAME, "--user", "70:70", "--network", "none", *options),
            *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=8192:8192"),  # machines may not allow podman's own
            *("--read-only", "--cap-drop", "all", "--tmpfs", "/tmp", "--tmpfs", "/var/run/postgresql:mode=1777"),
            *("--volume", f"{data}:/var/lib/postgresql/data", "--volume", f"{secrets}:/vault/secrets:ro"),
            *("--env", "PGDATA=/var/lib/postgresql/data/pgdata", "--env", "TZ=Etc/UTC", "--entrypoint", "/bin/sh"),
            *(image, "-c", script),
            check=check,
        )

    run.data, run.secrets = data, secrets
    yield run
    podman("rm", "--force", "--ignore", "--time", "0", NAME)


INITIALISE = text(FILES / "initialise.sh")
SERVE = ". /vault/secrets/database && exec docker-entrypoint.sh postgres"
PSQL = '. /vault/secrets/database && PGUSER="$POSTGRES_USER" PGPASSWORD="$POSTGRES_PASSWORD" PGDATABASE="$POSTGRES_DB" '


def query(sql, host="127.0.0.1"):
    script = PSQL + f'exec psql -XAtqw -v ON_ERROR_STOP=1 -h {host} -c "$1"'
    return podman("exec", NAME, "/bin/sh", "-c", script, "sh", sql).stdout.strip()


def serve(start):
    """Initialise as the init container does, then start the server and wait for it."""
    first = start(INITIALISE, "--rm")
    assert PASSWORD not in first.stdout + first.stderr
    start(SERVE, "--detach")
    deadline = time.monotonic() + 30
    while podman("exec", NAME, "pg_isready", "-h", "127.0.0.1", check=False).returncode:
        assert time.monotonic() < deadline, podman("logs", NAME).stderr
        time.sleep(0.05)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_in_the_middle_heals_at_the_next_start(start, moment):
    start(INITIALISE, "--detach")
    deadline = time.monotonic() + 60
    while not MOMENTS[moment](start.data):
        assert time.monotonic() < deadline, podman("logs", NAME).stderr
    podman("kill", "--signal", "KILL", NAME, check=False)
    podman("wait", NAME)
    serve(start)
    assert query("SELECT current_user || ' in ' || current_database()") == "cloudcart in cloudcart"
    assert [p.name for p in start.data.iterdir()] == [FINAL]


def test_a_killed_server_starts_again_with_its_data(start):
    serve(start)
    query("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
    podman("kill", "--signal", "KILL", NAME)
    podman("wait", NAME)
    assert (start.data / FINAL / "postmaster.pid").exists()
    serve(start)
    assert query("SELECT n FROM kept") == "42"


def test_a_changed_password_waits_for_a_hand(start):
    serve(start)
    credentials = start.secrets / "database"
    old = credentials.read_text(encoding="utf-8")
    podman("stop", NAME)
    credentials.write_text(old.replace("odd", "new"), encoding="utf-8")
    serve(start)
    login = PSQL + "exec psql -w -h 127.0.0.1 -c 'SELECT 1'"
    refused = podman("exec", NAME, "/bin/sh", "-c", login, check=False)
    assert "password authentication failed" in refused.stderr
    credentials.write_text(old, encoding="utf-8")
    assert query("SELECT 1") == "1", "the password of the first start"
    credentials.write_text(old.replace("odd", "new"), encoding="utf-8")
    by_hand = re.search(r"-- sh -c '(.*POSTGRES_PASSWORD.*)'$", text(FILES.parent / "README.md"), re.MULTILINE)[1]
    said = podman("exec", NAME, "/bin/sh", "-c", by_hand)
    assert said.stdout + said.stderr == ""
    assert query("SELECT 1") == "1"
    assert "new" not in podman("logs", NAME).stderr.replace("new process", "")


def test_the_role_has_no_more_rights_than_it_needs(start):
    serve(start)
    assert query("SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user") == "f"
    peer = podman(
        "exec",
        NAME,
        "psql",
        "-XAtqw",
        "-U",
        "postgres",
        "-c",
        "SELECT rolpassword IS NULL FROM pg_authid WHERE rolsuper",
    )
    assert peer.stdout.strip() == "t"


def test_files_that_are_no_database_are_never_removed(start):
    (start.data / FINAL).mkdir()
    (start.data / FINAL / "precious").touch()
    refused = start(INITIALISE, "--rm", check=False)
    assert refused.returncode == 1
    assert "holds files but no database" in refused.stderr
    assert (start.data / FINAL / "precious").exists()


def test_an_error_tells_the_cause_and_no_password(start):
    credentials = start.secrets / "database"
    credentials.write_text(text(credentials).replace('DB="cloudcart"', 'DB="template1"'), encoding="utf-8")
    refused = start(INITIALISE, "--rm", check=False)
    assert refused.returncode != 0
    assert 'database "template1" already exists' in refused.stderr
    said = refused.stdout + refused.stderr
    assert PASSWORD not in said and "CREATE" not in said
    assert not (start.data / FINAL).exists()


SCHEMA = PSQL + "exec psql -Xqw -o /dev/null -v ON_ERROR_STOP=1 -h 127.0.0.1"


def apply_schema():
    command = ["podman", "--runtime", "runc", "exec", "--interactive", NAME, "/bin/sh", "-c", SCHEMA]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    process.stdin.write(text(FILES / "schema.sql"))
    process.stdin.close()
    return process


def test_the_schema_may_run_at_any_time_and_at_once(start):
    serve(start)
    runs = [apply_schema() for _ in range(5)]
    assert [(r.stdout.read(), r.wait()) for r in runs] == [("", 0)] * 5
    assert query("SELECT string_agg(id::text, ' ' ORDER BY id) FROM products") == "1 2 3 4 5 6 7"
    assert query("INSERT INTO products (name, price) VALUES ('Mug', 1) RETURNING id") == "8"
    query("DELETE FROM products WHERE id = 2")
    assert apply_schema().wait() == 0
    assert query("SELECT count(*) FROM products") == "7", "a shop with products gets none back"
    tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"
    assert query(tables) == "order_items orders products users"
    indexes = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE indexname LIKE 'idx%'"
    assert query(indexes) == (
        "idx_order_items_order_id idx_order_items_product_id idx_orders_status idx_orders_user_id "
        "idx_products_category idx_users_email"
    )


def test_a_table_that_a_service_made_first_is_kept_and_filled(start):
    serve(start)
    columns = "id serial PRIMARY KEY, name text, description text, price numeric, stock int, category text"
    query(f"CREATE TABLE products ({columns})")
    assert apply_schema().wait() == 0
    assert query("SELECT count(*) FROM products") == "7"
