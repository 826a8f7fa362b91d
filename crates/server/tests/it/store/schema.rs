//! Statements and migrations.

use mesh_server::store::{self, migrate};

use super::{Store, on_both, postgres};
use crate::kit::Database;

on_both!(
    every_statement_is_understood,
    down_and_up_again_is_the_same,
    nothing_is_lost_unasked,
    several_migrate_at_once
);

async fn every_statement_is_understood(store: Store) {
    store.db.write(0, store::prepare_all).await.unwrap();
    store.db.read(store::prepare_all).await.unwrap();
    // That it could fail: without tables nothing is understood.
    store.db.write(0, |tx| migrate::down(tx, usize::MAX, true)).await.unwrap();
    let another = store.another().await;
    assert!(another.db.write(0, store::prepare_all).await.is_err());
}

/// Every table, column, index, constraint, function and trigger, in the database's own words. Not the places of columns: one that was
/// dropped leaves its place empty for ever.
async fn schema(database: &Database) -> Vec<String> {
    let Some(file) = database.sqlite_file() else {
        let url = database.url.clone();
        // The synchronous client must not run on a runtime's thread.
        return tokio::task::spawn_blocking(move || schema_of_postgres(&url)).await.unwrap();
    };
    let conn = rusqlite::Connection::open(file).unwrap();
    let sql = "SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY 1";
    let mut statement = conn.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn schema_of_postgres(url: &str) -> Vec<String> {
    let mut client = ::postgres::Client::connect(url, ::postgres::NoTls).unwrap();
    let sql = "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, \
            collation_name, column_default) FROM information_schema.columns WHERE table_schema = 'public' \
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
        UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
            WHERE connamespace = 'public'::regnamespace \
        UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1";
    client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

async fn down_and_up_again_is_the_same(store: Store) {
    let whole = schema(&store.database).await;
    for table in ["users", "sessions", "rooms", "room_members", "messages", "message_mentions", "schema_migrations"] {
        assert!(whole.iter().any(|line| line.contains(table)), "{table} is not in {whole:?}");
    }
    let count = store.db.write(0, migrate::status).await.unwrap().len();
    // Each step back and forth by itself, then all at once.
    for steps in (1..=count).chain([usize::MAX]) {
        let back = store.db.write(0, move |tx| migrate::down(tx, steps, true)).await.unwrap();
        assert_eq!(back.len(), steps.min(count));
        let status = store.db.write(0, migrate::status).await.unwrap();
        assert_eq!(status.iter().filter(|(_, applied)| *applied).count(), count - back.len());
        let left = schema(&store.database).await;
        assert_ne!(left, whole);
        if back.len() == count {
            assert!(left.iter().all(|line| line.contains("schema_migrations")), "left behind: {left:?}");
        }
        let again = store.db.write(0, |tx| migrate::up(tx, 0)).await.unwrap();
        assert!(again.iter().rev().eq(&back), "{again:?} is not {back:?}");
        assert_eq!(schema(&store.database).await, whole);
    }
    // A new connection works with it as if nothing had been.
    let another = store.another().await;
    let ana = another.person("ana").await;
    let room = another.room(ana, mesh_protocol::model::Visibility::Public, 0).await;
    assert_eq!(another.say(another.line(room, ana, "still here")).await.unwrap(), (1, true));
}

async fn nothing_is_lost_unasked(store: Store) {
    store.person("ana").await;
    let whole = schema(&store.database).await;
    let refused = store.db.write(0, |tx| migrate::down(tx, usize::MAX, false)).await.unwrap_err();
    assert!(refused.message.contains(" loses "), "{}", refused.message);
    assert_eq!(schema(&store.database).await, whole, "half of it was taken back");
    let ana = store.db.read(|tx| store::users::by_name(tx, "ANA")).await.unwrap();
    assert_eq!(ana.unwrap().user.username, "ana");
}

async fn several_migrate_at_once(store: Store) {
    store.db.write(0, |tx| migrate::down(tx, usize::MAX, true)).await.unwrap();
    let others = [store.another().await, store.another().await, store.another().await];
    let migrating = others.iter().map(|other| other.db.write(0, |tx| migrate::up(tx, 0)));
    let done = futures_util::future::try_join_all(migrating).await.unwrap();
    assert_eq!(done.iter().filter(|names| !names.is_empty()).count(), 1, "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_database_holds_nothing() {
    for database in [Some(Database::sqlite()), postgres("a fresh database")].into_iter().flatten() {
        let store = Store::empty(database).await;
        assert!(schema(&store.database).await.is_empty());
        assert!(store.db.read(store::ping).await.is_err(), "alive without its tables");
        store.db.write(0, |tx| migrate::up(tx, 0)).await.unwrap();
        store.db.read(store::ping).await.unwrap();
        assert!(!store.db.failed());
    }
}
