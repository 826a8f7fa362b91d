//! What goes: old messages, deleted accounts and their rooms; and what may be taken along.

mod deletion;
mod export;
mod retention;

use serde_json::{Value, json};

use crate::kit::{Account, Database, Server};

const PASSWORD: &str = "correct horse battery";

async fn post(server: &Server, room: &str, who: &Account, content: &str) -> Value {
    let (status, message) = server.post(&format!("/api/rooms/{room}/messages"), who, json!({"content": content})).await;
    assert_eq!(status, 201, "{message}");
    message
}

/// The same account with a new login, after the clock has moved far.
async fn again(server: &Server, who: &Account) -> Account {
    let body = json!({"username": who.name, "password": PASSWORD});
    let (status, answer) = server.ask("POST", "/api/auth/login", None, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    Account { token: answer["access_token"].as_str().unwrap().to_owned(), ..who.clone() }
}

/// Every row of every table as text, behind its table's name. Not the insides of the index of words.
pub async fn rows(database: &Database) -> Vec<String> {
    let Some(file) = database.sqlite_file() else {
        let url = database.url.clone();
        // The synchronous client must not run on a runtime's thread.
        return tokio::task::spawn_blocking(move || rows_of_postgres(&url)).await.unwrap();
    };
    let conn = rusqlite::Connection::open(file).unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'messages_fts%'";
    let tables: Vec<String> =
        conn.prepare(tables).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut rows = Vec::new();
    for table in tables {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let count = statement.column_count();
        let found = statement.query_map([], |row| {
            let cells: Vec<_> = (0..count).map(|at| format!("{:?}", row.get_ref(at).map(cell))).collect();
            Ok(format!("{table}: {}", cells.join(", ")))
        });
        rows.extend(found.unwrap().map(Result::unwrap));
    }
    rows
}

fn cell(value: rusqlite::types::ValueRef<'_>) -> String {
    match value {
        rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

fn rows_of_postgres(url: &str) -> Vec<String> {
    let mut client = ::postgres::Client::connect(url, ::postgres::NoTls).unwrap();
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    let tables: Vec<String> = client.query(tables, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let mut rows = Vec::new();
    for table in tables {
        let sql = format!("SELECT '{table}: ' || row_to_json(t)::text FROM {table} t");
        rows.extend(client.query(&sql, &[]).unwrap().iter().map(|row| row.get::<_, String>(0)));
    }
    rows
}

/// How many rows of a table hold a text.
fn count(rows: &[String], table: &str, text: &str) -> usize {
    rows.iter().filter(|row| row.starts_with(&format!("{table}: ")) && row.contains(text)).count()
}
