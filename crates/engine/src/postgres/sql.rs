//! Every statement that is sent.

/// The version of the tables.
pub(super) const FORMAT: i32 = 1;

/// The tables. Nothing in them is a sequence, an extension or a function of ours.
pub(super) const CREATE: &str = "
create schema if not exists bailiwick;
create table if not exists bailiwick.rows (key bytea primary key, value bytea not null);
create table if not exists bailiwick.store (
    id int primary key check (id = 1), format int not null, region text not null,
    shard text not null, cluster text not null, writer text not null,
    term bigint not null, size bigint not null);
create table if not exists bailiwick.writer (
    id int primary key check (id = 1), term bigint not null, beat bigint not null,
    holder text not null, released boolean not null);
";

/// The first rows of a store: format, region, shard, cluster.
pub(super) const FIRST_ROWS: [&str; 2] = [
    "insert into bailiwick.store (id, format, region, shard, cluster, writer, term, size)
     values (1, $1, $2, $3, $4, '', 0, 0) on conflict (id) do nothing",
    "insert into bailiwick.writer (id, term, beat, holder, released)
     values (1, 0, 0, '', true) on conflict (id) do nothing",
];

pub(super) const HAS_STORE: &str = "select to_regclass('bailiwick.writer') is not null
    and to_regclass('bailiwick.store') is not null";

pub(super) const OWNER: &str =
    "select format, region, shard, cluster from bailiwick.store where id = 1";

/// The settings that must hold, as text; null where the server has no such setting.
pub(super) const SETTINGS: &str = "
select pg_is_in_recovery(), current_setting('transaction_read_only', true),
    current_setting('synchronous_commit', true), current_setting('fsync', true),
    current_setting('full_page_writes', true), current_setting('synchronous_standby_names', true),
    version()";

/// What belongs into a server's own log, or does not.
pub(super) const LOG_SETTINGS: &str = "
select current_setting('log_statement', true), current_setting('log_min_duration_statement', true),
    current_setting('log_parameter_max_length', true),
    current_setting('log_parameter_max_length_on_error', true),
    current_setting('synchronous_standby_names', true)";

pub(super) const CLUSTER: &str = "select system_identifier::text from pg_control_system()";

/// Where the server streams its journal to. Without the right to see it, a row has nulls; for a
/// socket of the machine, the port is -1.
pub(super) const STREAMED_TO: &str =
    "select host(client_addr), client_port from pg_catalog.pg_stat_replication";

pub(super) const NEW_WRITER: &str = "select gen_random_uuid()::text";

/// What every connection begins with. Plans go by the primary key, whatever the statistics say: the
/// statements are prepared once, and a table that was empty then grows. Nothing of ours is cancelled.
pub(super) const BEGIN_SESSION: &str = "
set default_transaction_isolation = 'read committed'; set client_min_messages = warning;
set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0;
set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;
set plan_cache_mode = force_generic_plan";

/// A heartbeat is no promise: it need not wait for the disk, and may not wait for a standby.
pub(super) const BEGIN_BEATS: &str = "set synchronous_commit = off";

/// Term, size, writer, the next size; removed keys; keys and values. It answers how many heads moved.
pub(super) const COMMIT: &str = "
with head as (
    update bailiwick.store set size = $4::bigint
    where id = 1 and term = $1::bigint and size = $2::bigint and writer = $3::text returning 1),
gone as (
    delete from bailiwick.rows r using unnest($5::bytea[]) as k(key)
    where r.key = k.key and exists (select 1 from head)),
kept as (
    insert into bailiwick.rows (key, value)
    select k, v from unnest($6::bytea[], $7::bytea[]) as t(k, v)
    where exists (select 1 from head)
    on conflict (key) do update set value = excluded.value)
select count(*) from head";

/// The writer that takes the term, its holder's name, and the term that it follows: one that was
/// seen, or any that it has taken itself.
pub(super) const TAKE_TERM: &str = "
with head as (
    update bailiwick.store set term = term + 1, writer = $1::text
    where id = 1 and (writer = $1::text or term = $3::bigint) returning term, size),
beats as (
    update bailiwick.writer
    set term = (select term from head), beat = 0, holder = $2::text, released = false
    where id = 1 and exists (select 1 from head))
select term, size from head";

pub(super) const HEAD: &str = "select term, size, writer from bailiwick.store where id = 1";

pub(super) const STANDING: &str = "
select s.term, s.size, w.term, w.beat, w.holder, w.released
from bailiwick.store s join bailiwick.writer w on w.id = s.id where s.id = 1";

pub(super) const BEAT: &str =
    "update bailiwick.writer set beat = beat + 1 where id = 1 and term = $1::bigint";

pub(super) const RELEASE: &str =
    "update bailiwick.writer set released = true where id = 1 and term = $1::bigint";

pub(super) const BEGIN_VIEW: &str = "begin isolation level repeatable read, read only";

pub(super) const GET: &str = "select key, value from bailiwick.rows where key = any($1::bytea[])";

/// A scan from a key (included), until a key (excluded, if there is one), of so many rows and bytes:
/// a row past the bytes has no value and ends the page, unless it is the first. The second always
/// comes, so that it is known whether there is one.
macro_rules! scan {
    ($until:literal, $order:literal) => {
        concat!(
            "select key, case when n = 1 or upto <= $4::bigint then value end from (
                select key, value, row_number() over w as n,
                    sum(octet_length(key) + octet_length(value)) over w as upto,
                    octet_length(key) + octet_length(value) as own
                from (
                    select key, value from bailiwick.rows where key >= $1::bytea and ",
            $until,
            " order by key ",
            $order,
            " limit $3::bigint) as rows
                window w as (order by key ",
            $order,
            " rows between unbounded preceding and current row)) as counted
            where n <= 2 or upto - own <= $4::bigint order by n"
        )
    };
}

/// Ascending and descending; each with an end and without one.
pub(super) const SCANS: [[&str; 2]; 2] = [
    [scan!("key < $2::bytea", "asc"), scan!("$2::bytea is not null", "asc")],
    [scan!("key < $2::bytea", "desc"), scan!("$2::bytea is not null", "desc")],
];
