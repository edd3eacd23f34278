"""A database with a million calls, for `tools/bench.py reads`: an SQLite file or a PostgreSQL of its own that a host has made
its schema in. The indexes go while it is filled and come back afterwards, which is ten times quicker."""

import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

CALLS = 1_000_000
# When the first of them began, ms; one a second.
FIRST = 1_700_000_000_000
TABLES = ("calls", "call_details", "events", "deliveries")
RECORD = '{"call_id": "x", "outcome": "answered", "fields": {"intent": "book", "when": "tomorrow at ten"}, "transcript": []}'

# `{numbers}` yields n from 1 on; `{id}` is 32 hexadecimal digits of it.
FILL = (
    """INSERT INTO calls (id, tenant_id, host, state, direction, from_address, to_address, number_id, script_id, script_version,
           relation_id, external_id, created_at, answered_at, ended_at, outcome, end_reason, last_sequence, start)
       SELECT 'call_' || {id}, '{tenant}', 'host-0', 'completed', CASE WHEN n % 50 = 0 THEN 'outbound' ELSE 'inbound' END,
           '+49170' || n, '100', 'num_' || (n % 500), 'scr_' || (n % 50), 1, 'rel_' || (n / 10), 'ext_' || n,
           {first} + n * 1000, {first} + n * 1000, {first} + n * 1000 + 60000,
           CASE n % 5 WHEN 2 THEN 'busy' WHEN 3 THEN 'no_answer' ELSE 'answered' END, 'caller_hangup', 1, '{{}}' FROM {numbers}""",
    """INSERT INTO call_details (call_id, tenant_id, record, timeline) SELECT 'call_' || {id}, '{tenant}', '{record}', '[]' FROM {numbers}""",
    """INSERT INTO events (id, tenant_id, call_id, sequence, type, body, created_at)
       SELECT 'evt_' || {id}, '{tenant}', 'call_' || {id}, 1, 'call.completed', {body}, {first} + n * 1000 FROM {numbers}""",
    """INSERT INTO deliveries (id, tenant_id, event_id, endpoint, state, tries, attempts, created_at, finished_at)
       SELECT 'dlv_' || {id}, '{tenant}', 'evt_' || {id}, 'whk_' || (n % 10), CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'delivered' END,
           1, 1, {first} + n * 1000, {first} + n * 1000 FROM {numbers}""",
)


def fill_sqlite(file: Path):
    with sqlite3.connect(file) as books:
        books.execute("PRAGMA synchronous = OFF")
        (tenant,) = books.execute("SELECT id FROM tenants WHERE is_default = 1").fetchone()
        names = ",".join(f"'{name}'" for name in TABLES)
        indexes = books.execute(f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({names})").fetchall()
        for name, _ in indexes:
            books.execute(f"DROP INDEX {name}")
        numbers = f"(WITH RECURSIVE all_of (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM all_of WHERE n < {CALLS}) SELECT n FROM all_of)"
        for sql in FILL:
            books.execute(sql.format(id="printf('%032x', n)", numbers=numbers, tenant=tenant, first=FIRST, record=RECORD,
                                     body=f"CAST('{RECORD}' AS BLOB)"))
        for _, sql in indexes:
            books.execute(sql)
        books.execute("ANALYZE")
    books.close()


class Postgres:
    """A server that ends with this process: the tests' own keeper (tests/postgres)."""

    def __init__(self, keeper: Path):
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)) if Path("/usr/lib/postgresql").exists() else []
        self.bin = versions[-1] if versions else Path(shutil.which("pg_ctl")).parent
        as_whom = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            as_whom = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.keeper = subprocess.Popen(["sh", "-c", keeper.read_text(), "keeper", str(self.bin)], cwd="/", text=True, start_new_session=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, **as_whom)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.keeper.stdin.write(f"start {self.port} durable\n")
        self.keeper.stdin.flush()
        if self.keeper.stdout.readline().strip() != "started":
            raise RuntimeError("PostgreSQL does not start")
        self.run("postgres", "CREATE DATABASE callbox TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'")
        self.url = f"postgres://callbox@127.0.0.1:{self.port}/callbox?sslmode=disable"

    def run(self, database: str, sql: str) -> list:
        address = f"postgres://callbox@127.0.0.1:{self.port}/{database}?sslmode=disable"
        done = subprocess.run([self.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", address], input=sql, text=True, capture_output=True, cwd="/")
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.splitlines()

    def fill(self):
        (tenant,) = self.run("callbox", "SELECT id FROM tenants WHERE is_default = 1")
        names = ",".join(f"'{name}'" for name in TABLES)
        indexes = self.run("callbox", f"SELECT indexname || '|' || indexdef FROM pg_indexes WHERE tablename IN ({names}) AND indexname NOT LIKE '%_pkey'")
        sql = ["SET session_replication_role = replica", "SET maintenance_work_mem = '128MB'", *(f"DROP INDEX {line.partition('|')[0]}" for line in indexes)]
        for text in FILL:
            # A large number in a sum makes it a large sum.
            sql.append(text.format(id="lpad(to_hex(n), 32, '0')", numbers=f"generate_series(1, {CALLS}) n", tenant=tenant, first=FIRST, record=RECORD,
                                   body=f"convert_to('{RECORD}', 'UTF8')"))
        sql += [line.partition("|")[2] for line in indexes] + ["VACUUM ANALYZE"]
        self.run("callbox", ";\n".join(sql))

    def stop(self):
        self.keeper.stdin.close()
        self.keeper.wait(30)
