//! Rooms, their members, bans and invites, by REST, and what connections hear of it.

mod bans;
mod direct;
mod invites;
mod live;
mod members;
mod paging;
mod races;
mod settings;
mod strangers;

use serde_json::{Value, json};

use crate::kit::{Account, Peer, Server};

/// The people of most tests, and a private room of `ana`.
struct House {
    server: Server,
    ana: Account,
    ben: Account,
    eve: Account,
    room: String,
}

/// `ana`'s room with `ben` in it; `eve` is a stranger.
async fn house() -> House {
    let server = Server::start().await;
    let (ana, ben) = (server.register("ana").await, server.register("ben").await);
    let eve = server.register("eve").await;
    let room = server.room(&ana, "Cuisine").await;
    server.add(&ana, &room, &ben).await;
    House { server, ana, ben, eve, room }
}

impl House {
    /// Asks something of the room.
    async fn ask(&self, method: &str, path: &str, who: &Account, body: Option<Value>) -> (u16, Value) {
        let path = format!("/api/rooms/{}{path}", self.room);
        self.server.ask(method, &path, Some(&who.token), body).await
    }

    /// The same where the answer is a success.
    async fn done(&self, method: &str, path: &str, who: &Account, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, who, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// The same where it is a refusal: its status and code.
    async fn refused(&self, method: &str, path: &str, who: &Account, body: Option<Value>) -> (u16, String) {
        let (status, answer) = self.ask(method, path, who, body).await;
        assert!(status >= 400, "{method} {path}: {status} {answer}");
        (status, text(&answer["code"]).to_owned())
    }

    async fn role(&self, whose: &Account, role: &str) {
        let path = format!("/members/{}", whose.id);
        let member = self.done("PATCH", &path, &self.ana, Some(json!({"role": role}))).await;
        assert_eq!(member["role"], role, "{member}");
    }

    /// A connection that has joined the room.
    async fn joined(&self, who: &Account) -> Peer {
        let mut peer = self.server.peer(who).await;
        peer.join(&self.room).await;
        peer
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn no(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// All pages of a list, by their `Link` headers.
async fn all_pages(server: &Server, who: &Account, first: &str) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let response = server.http.get(server.url(&path)).bearer_auth(&who.token).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        next = response.headers().get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.strip_prefix('<').unwrap().split_once(">; rel=\"next\"").unwrap().0.to_owned()
        });
        all.extend(response.json::<Vec<Value>>().await.unwrap());
    }
    all
}

/// What the server's audit log has of an action; `admin` is the first account.
async fn audited(server: &Server, admin: &Account, action: &str) -> Vec<Value> {
    all_pages(server, admin, &format!("/api/admin/audit?action={action}")).await
}

/// All that came before the answer to a ping.
async fn until_pong(peer: &mut Peer) -> Vec<Value> {
    let pong = peer.ask("system.ping", json!({})).await;
    assert_eq!(pong["type"], "system.pong", "{pong}");
    std::mem::take(&mut peer.waiting).into()
}
