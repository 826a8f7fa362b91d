//! Administration, from outside: `/api/admin`, registration invites, the audit log and the command line.

pub(crate) mod accounts;
mod audit;
mod command_line;
mod invites;
mod two_servers;

use serde_json::{Value, json};

use crate::kit::{Account, Server};

const PASSWORD: &str = "correct horse battery";

/// A server with its administrator, `ana`, and somebody else, `ben`.
async fn ana_and_ben() -> (Server, Account, Account) {
    let server = Server::start().await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    (server, ana, ben)
}

async fn patch(server: &Server, admin: &Account, id: &str, change: Value) -> (u16, Value) {
    server.ask("PATCH", &format!("/api/admin/users/{id}"), Some(&admin.token), Some(change)).await
}

async fn login(server: &Server, name: &str, password: &str) -> (u16, Value) {
    server.ask("POST", "/api/auth/login", None, Some(json!({"username": name, "password": password}))).await
}

/// Pages through a list by its `Link` headers.
async fn all_pages(server: &Server, who: &Account, path: &str) -> Vec<Value> {
    let mut next = Some(path.to_owned());
    let mut all = Vec::new();
    while let Some(path) = next {
        let response = server.http.get(server.url(&path)).bearer_auth(&who.token).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| link[1..link.find('>').unwrap()].to_owned());
        let page: Vec<Value> = response.json().await.unwrap();
        assert!(!page.is_empty() || next.is_none());
        all.extend(page);
    }
    all
}

fn names(users: &[Value]) -> Vec<&str> {
    users.iter().map(|user| user["username"].as_str().unwrap()).collect()
}
