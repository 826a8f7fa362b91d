//! What becomes of one account, and which of its credentials live.

use serde_json::{Value, json};

use super::{ACCESS_SECONDS, CAPABILITY_SECONDS, GRACE_SECONDS, Step, TICKET_SECONDS, TOKEN_SECONDS, UNUSED_SECONDS};
use crate::{
    kit::{Account, Peer, Server},
    rest::capabilities::usable,
};

/// Each dead credential is asked about once a step: this many are enough.
const DEAD: usize = 8;

/// What a credential stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    Login(usize),
    Token(usize),
}

#[derive(Debug)]
struct Login {
    id: String,
    alive: bool,
    refresh: String,
    /// The one before, and when it was replaced.
    previous: Option<(String, i64)>,
    /// Older ones, each of which ends the login.
    spent: Vec<String>,
    unused_until: i64,
}

#[derive(Clone, Debug)]
struct Given {
    token: String,
    ground: Ground,
    /// Seconds of the model's clock; none for one that does not end by itself.
    ends: Option<i64>,
}

struct Pat {
    id: String,
    alive: bool,
    ends: Option<i64>,
}

struct Ticket {
    url: String,
    /// Until when it can be used.
    until: i64,
    /// What its connection stands on.
    by: Given,
}

struct Socket {
    peer: Peer,
    ground: Ground,
    ends: Option<i64>,
}

/// What the model knows of one account, which everything happens to.
pub(super) struct Model<'a> {
    server: &'a Server,
    ben: Account,
    room: &'a str,
    now: i64,
    password: String,
    passwords: u32,
    disabled: bool,
    logins: Vec<Login>,
    pats: Vec<Pat>,
    /// Access tokens and personal access tokens.
    bearers: Vec<Given>,
    tickets: Vec<Ticket>,
    capabilities: Vec<Given>,
    sockets: Vec<Socket>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The index that a number chooses, counted from the end; none where there is nothing.
fn pick(number: usize, len: usize) -> Option<usize> {
    number.checked_rem(len).map(|back| len - 1 - back)
}

impl<'a> Model<'a> {
    /// A new account, in the room, with its first login.
    pub(super) async fn new(server: &'a Server, room: &'a str, name: &str) -> Self {
        let password = "correct horse battery".to_owned();
        let body = json!({"username": name, "password": password});
        let (status, answer) = server.ask("POST", "/api/auth/register", None, Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        let (id, token) = (text(&answer["user"]["id"]), text(&answer["access_token"]));
        let ben = Account { id, name: name.to_owned(), token };
        let mut model = Self {
            server,
            ben,
            room,
            now: 0,
            password,
            passwords: 0,
            disabled: false,
            logins: Vec::new(),
            pats: Vec::new(),
            bearers: Vec::new(),
            tickets: Vec::new(),
            capabilities: Vec::new(),
            sockets: Vec::new(),
        };
        let ana = model.ana().await;
        server.add(&ana, room, &model.ben).await;
        model.logged_in(&answer).await;
        model
    }

    /// The administrator, who has just logged in.
    async fn ana(&self) -> Account {
        let body = json!({"username": "ana", "password": "correct horse battery"});
        let (_, answer) = self.server.ask("POST", "/api/auth/login", None, Some(body)).await;
        Account { id: text(&answer["user"]["id"]), name: "ana".to_owned(), token: text(&answer["access_token"]) }
    }

    fn stands(&self, ground: Ground) -> bool {
        match ground {
            Ground::Login(at) => self.logins[at].alive,
            Ground::Token(at) => self.pats[at].alive && self.pats[at].ends.is_none_or(|end| self.now < end),
        }
    }

    fn lives(&self, ground: Ground, ends: Option<i64>) -> bool {
        self.stands(ground) && ends.is_none_or(|end| self.now < end)
    }

    fn as_ben(&self, token: &str) -> Account {
        Account { token: token.to_owned(), ..self.ben.clone() }
    }

    /// An access token that lives, and its login.
    fn login_that_lives(&self, number: usize) -> Option<(usize, Account)> {
        let mut live = Vec::new();
        for given in self.bearers.iter().filter(|given| self.lives(given.ground, given.ends)) {
            if let Ground::Login(at) = given.ground {
                live.push((at, &given.token));
            }
        }
        pick(number, live.len()).map(|at| (live[at].0, self.as_ben(live[at].1)))
    }

    /// Takes a new access token and its login's refresh token.
    fn take(&mut self, at: usize, answer: &Value) -> String {
        let ends = Some(self.now + ACCESS_SECONDS);
        self.bearers.push(Given { token: text(&answer["access_token"]), ground: Ground::Login(at), ends });
        text(&answer["refresh_token"])
    }

    async fn logged_in(&mut self, answer: &Value) {
        let refresh = self.take(self.logins.len(), answer);
        let who = self.as_ben(&text(&answer["access_token"]));
        let (_, sessions) = self.server.get("/api/auth/sessions", &who).await;
        let id = sessions.as_array().unwrap().iter().find(|s| s["current"] == true).map(|s| text(&s["id"])).unwrap();
        let unused_until = self.now + UNUSED_SECONDS;
        self.logins.push(Login { id, alive: true, refresh, previous: None, spent: Vec::new(), unused_until });
    }

    async fn login(&mut self, password: &str) {
        let body = json!({"username": self.ben.name, "password": password});
        let (status, answer) = self.server.ask("POST", "/api/auth/login", None, Some(body)).await;
        let right = password == self.password && !self.disabled;
        assert_eq!(status, if right { 200 } else { 401 }, "login: {answer}");
        if right {
            self.logged_in(&answer).await;
        }
    }

    async fn refresh(&mut self, at: usize, token: String) {
        let now = self.now;
        let body = json!({"refresh_token": token});
        let (status, answer) = self.server.ask("POST", "/api/auth/refresh", None, Some(body)).await;
        let login = &mut self.logins[at];
        let open = login.alive && now < login.unused_until;
        let again = login.previous.as_ref().is_some_and(|(old, since)| *old == token && now - since <= GRACE_SECONDS);
        if open && token == login.refresh {
            assert_eq!(status, 200, "refresh: {answer}");
            let next = text(&answer["refresh_token"]);
            let used = std::mem::replace(&mut login.refresh, next);
            login.spent.extend(login.previous.replace((used, now)).map(|(token, _)| token));
            login.unused_until = now + UNUSED_SECONDS;
            self.take(at, &answer);
        } else if open && again {
            assert_eq!((status, text(&answer["refresh_token"])), (200, login.refresh.clone()), "a reply that was lost");
            self.take(at, &answer);
        } else {
            assert_eq!(status, 401, "refresh with a dead token: {answer}");
            login.alive &= !open;
        }
    }

    /// Ends logins: all, or all but one.
    fn end_all(&mut self, but: Option<usize>) {
        for (at, login) in self.logins.iter_mut().enumerate() {
            login.alive &= Some(at) == but;
        }
    }

    async fn administer(&mut self, change: Value) {
        let ana = self.ana().await;
        let path = format!("/api/admin/users/{}", self.ben.id);
        let (status, answer) = self.server.ask("PATCH", &path, Some(&ana.token), Some(change)).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn make_token(&mut self, who: &Account, ends: bool) {
        let ends = ends.then_some(TOKEN_SECONDS);
        let body = json!({"name": "bot", "scopes": ["rooms:read", "chat:read", "rtc"], "expires_in": ends});
        let (status, made) = self.server.post("/api/auth/tokens", who, body).await;
        assert_eq!(status, 201, "{made}");
        let ends = ends.map(|seconds| self.now + seconds);
        self.bearers.push(Given { token: text(&made["token"]), ground: Ground::Token(self.pats.len()), ends });
        self.pats.push(Pat { id: text(&made["id"]), alive: true, ends });
    }

    /// Opens a connection, which lives or is refused.
    async fn open(&mut self, url: &str, lives: bool, by: &Given) {
        let mut peer = Peer::connect_to(url).await.unwrap();
        if lives {
            peer.hello().await;
            self.sockets.push(Socket { peer, ground: by.ground, ends: by.ends });
        } else {
            assert_eq!(peer.closed().await.0, 4401, "a connection by a dead {:?}", by.ground);
        }
    }

    fn ws(&self) -> String {
        format!("{}/ws", self.server.base.replacen("http", "ws", 1))
    }

    /// Puts a newer credential in the place of a connection's.
    async fn renew(&mut self, socket: usize, by: &Given) {
        let ground = self.sockets[socket].ground;
        let narrower = matches!((ground, by.ground), (Ground::Login(_), Ground::Token(_)));
        let renews = self.lives(by.ground, by.ends) && !narrower;
        let socket = &mut self.sockets[socket];
        let answer = socket.peer.ask("system.auth", json!({"token": by.token})).await;
        assert_eq!(answer["type"], if renews { "system.ack" } else { "system.error" }, "{answer}");
        if renews {
            (socket.ground, socket.ends) = (by.ground, by.ends);
        }
    }

    /// Does a step; none where there is nothing to do it with.
    pub(super) async fn step(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Login => self.login(&self.password.clone()).await,
            Step::LoginWithAWrongPassword => self.login("nobody's password").await,
            Step::Logout(by) => {
                let (at, who) = self.login_that_lives(by)?;
                assert_eq!(self.server.post("/api/auth/logout", &who, json!({})).await.0, 204);
                self.logins[at].alive = false;
            }
            Step::EndLogin(by, which) => {
                let (_, who) = self.login_that_lives(by)?;
                let login = pick(which, self.logins.len()).map(|at| &mut self.logins[at])?;
                let path = format!("/api/auth/sessions/{}", login.id);
                let (status, _) = self.server.ask("DELETE", &path, Some(&who.token), None).await;
                assert_eq!(status, if login.alive { 204 } else { 404 });
                login.alive = false;
            }
            Step::Refresh(at) => {
                let at = pick(at, self.logins.len())?;
                self.refresh(at, self.logins[at].refresh.clone()).await;
            }
            Step::RefreshWithThePrevious(at) => {
                let rotated: Vec<_> = (0..self.logins.len()).filter(|at| self.logins[*at].previous.is_some()).collect();
                let at = pick(at, rotated.len()).map(|at| rotated[at])?;
                let (token, _) = self.logins[at].previous.clone()?;
                self.refresh(at, token).await;
            }
            Step::RefreshWithAnOldOne(at, which) => {
                let rotated: Vec<_> = (0..self.logins.len()).filter(|at| !self.logins[*at].spent.is_empty()).collect();
                let at = pick(at, rotated.len()).map(|at| rotated[at])?;
                let spent = &self.logins[at].spent;
                let token = pick(which, spent.len()).map(|at| spent[at].clone())?;
                self.refresh(at, token).await;
            }
            Step::ChangePassword(by) => {
                let (at, who) = self.login_that_lives(by)?;
                self.passwords += 1;
                let next = format!("password {}", self.passwords);
                let body = json!({"current_password": self.password, "new_password": next});
                assert_eq!(self.server.post("/api/auth/password", &who, body).await.0, 204);
                self.password = next;
                self.end_all(Some(at));
            }
            Step::ResetPassword => {
                self.passwords += 1;
                self.password = format!("password {}", self.passwords);
                self.administer(json!({"password": self.password})).await;
                self.end_all(None);
            }
            Step::Disable => {
                self.disabled = true;
                self.administer(json!({"disabled": true})).await;
                self.end_all(None);
                self.pats.iter_mut().for_each(|pat| pat.alive = false);
            }
            Step::Enable => {
                self.disabled = false;
                self.administer(json!({"disabled": false})).await;
            }
            Step::MakeToken(by, ends) => {
                let (_, who) = self.login_that_lives(by)?;
                self.make_token(&who, ends).await;
            }
            Step::RevokeToken(by, which) => {
                let (_, who) = self.login_that_lives(by)?;
                let pat = pick(which, self.pats.len()).map(|at| &mut self.pats[at])?;
                let path = format!("/api/auth/tokens/{}", pat.id);
                // One that has ended may be forgotten already.
                assert!([204, 404].contains(&self.server.ask("DELETE", &path, Some(&who.token), None).await.0));
                pat.alive = false;
            }
            Step::AskForATicket(by) => {
                let by = pick(by, self.bearers.len()).map(|at| self.bearers[at].clone())?;
                let (status, made) = self.server.post("/api/auth/ws-ticket", &self.as_ben(&by.token), json!({})).await;
                let lives = self.lives(by.ground, by.ends);
                assert_eq!(status, if lives { 201 } else { 401 }, "a ticket by {:?}: {made}", by.ground);
                if lives {
                    let url = format!("{}?ticket={}", self.ws(), text(&made["ticket"]));
                    self.tickets.push(Ticket { url, until: self.now + TICKET_SECONDS, by });
                }
            }
            Step::UseATicket(which) => {
                let at = pick(which, self.tickets.len())?;
                let ticket = self.tickets.swap_remove(at);
                let lives = self.now < ticket.until && self.lives(ticket.by.ground, ticket.by.ends);
                self.open(&ticket.url, lives, &ticket.by).await;
                // It works once.
                self.open(&ticket.url, false, &ticket.by).await;
            }
            Step::AskForACapability(by) => {
                let by = pick(by, self.bearers.len()).map(|at| self.bearers[at].clone())?;
                let body = json!({"room_id": self.room, "capabilities": ["call"]});
                let who = self.as_ben(&by.token);
                let (status, made) = self.server.post("/api/auth/capability", &who, body).await;
                let lives = self.lives(by.ground, by.ends);
                assert_eq!(status, if lives { 200 } else { 401 }, "a capability by {:?}: {made}", by.ground);
                if lives {
                    let (token, ends) = (text(&made["capability_token"]), Some(self.now + CAPABILITY_SECONDS));
                    self.capabilities.push(Given { token, ground: by.ground, ends });
                }
            }
            Step::Connect(by) => {
                let by = pick(by, self.bearers.len()).map(|at| self.bearers[at].clone())?;
                let url = format!("{}?token={}", self.ws(), by.token);
                self.open(&url, self.lives(by.ground, by.ends), &by).await;
            }
            Step::Renew(socket, by) => {
                let socket = pick(socket, self.sockets.len())?;
                let by = pick(by, self.bearers.len()).map(|at| self.bearers[at].clone())?;
                self.renew(socket, &by).await;
            }
            Step::Wait(seconds) => {
                self.server.advance(seconds);
                self.now += seconds;
            }
        }
        Some(())
    }

    /// Tries everything that was ever given.
    pub(super) async fn look(&mut self) {
        for given in &self.bearers {
            let wanted = if self.lives(given.ground, given.ends) { 200 } else { 401 };
            let (status, answer) = self.server.ask("GET", "/api/auth/me", Some(&given.token), None).await;
            assert_eq!(status, wanted, "a token of {:?}: {answer}", given.ground);
        }
        if let Some((_, who)) = self.login_that_lives(0) {
            for given in &self.capabilities {
                let usable = usable(self.server, &who, &given.token, self.room).await;
                assert_eq!(usable.is_ok(), self.lives(given.ground, given.ends), "a capability: {usable:?}");
            }
        }
        for mut socket in std::mem::take(&mut self.sockets) {
            if self.lives(socket.ground, socket.ends) {
                assert_eq!(socket.peer.ask("system.ping", json!({})).await["type"], "system.pong");
                self.sockets.push(socket);
            } else {
                let (code, reason, _) = socket.peer.closed().await;
                assert!(matches!(code, 4401 | 4403), "{code} {reason}");
            }
        }
        let dead: Vec<_> = (0..self.bearers.len())
            .filter(|at| !self.lives(self.bearers[*at].ground, self.bearers[*at].ends))
            .collect();
        for at in dead.iter().rev().skip(DEAD) {
            self.bearers.remove(*at);
        }
    }

    /// In the end every refresh token is tried, which uses it up.
    pub(super) async fn refresh_all(&mut self) {
        for at in 0..self.logins.len() {
            self.refresh(at, self.logins[at].refresh.clone()).await;
        }
    }
}
