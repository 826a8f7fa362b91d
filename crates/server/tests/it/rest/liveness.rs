//! Logins, refreshes, logouts, changed passwords, disabled accounts, as chance has it: after each step every credential
//! that was ever given is tried, and lives or is dead as a model says. The server's clock stands still but where a step
//! moves it, so that nothing which is only believed for a while would be forgotten by itself.

use serde_json::{Value, json};

use super::capabilities::{grant, usable};
use crate::kit::{Account, Chance, Peer, Server, seeds};

const STEPS: usize = 90;
const ACCESS_SECONDS: i64 = 600;
const UNUSED_SECONDS: i64 = 86_400;
const GRACE_SECONDS: i64 = 15;
const TICKET_SECONDS: i64 = 30;
const CAPABILITY_SECONDS: i64 = 120;

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

#[derive(Debug)]
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

struct Socket {
    peer: Peer,
    ground: Ground,
    ends: Option<i64>,
}

/// What the model knows of ben, whom everything happens to.
struct Model<'a> {
    server: &'a Server,
    /// Of an administrator, who logs in anew before each step.
    admin: String,
    ben: Account,
    room: String,
    chance: Chance,
    now: i64,
    password: String,
    disabled: bool,
    logins: Vec<Login>,
    pats: Vec<Pat>,
    /// Access tokens and personal access tokens.
    bearers: Vec<Given>,
    tickets: Vec<Given>,
    capabilities: Vec<Given>,
    sockets: Vec<Socket>,
    log: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

impl Model<'_> {
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
    fn bearer(&mut self) -> Option<(usize, Account, i64)> {
        let live: Vec<_> = self.bearers.iter().filter(|given| self.lives(given.ground, given.ends)).collect();
        let logins: Vec<_> = live
            .iter()
            .filter_map(|given| match given.ground {
                Ground::Login(at) => Some((at, given.token.clone(), given.ends.unwrap_or(i64::MAX))),
                Ground::Token(_) => None,
            })
            .collect();
        let (at, token, ends) = self.chance.index(logins.len()).map(|at| logins[at].clone())?;
        Some((at, self.as_ben(&token), ends))
    }

    /// Takes a new access token and its login's refresh token.
    fn take(&mut self, at: usize, answer: &Value) -> String {
        let ends = Some(self.now + ACCESS_SECONDS);
        self.bearers.push(Given { token: text(&answer["access_token"]), ground: Ground::Login(at), ends });
        text(&answer["refresh_token"])
    }

    async fn login(&mut self) {
        let right = self.chance.below(4) > 0;
        let password = if right { self.password.clone() } else { "no password of ben".to_owned() };
        let body = json!({"username": "ben", "password": password});
        let (status, answer) = self.server.ask("POST", "/api/auth/login", None, Some(body)).await;
        assert_eq!(status, if right && !self.disabled { 200 } else { 401 }, "{answer}");
        if status == 200 {
            let at = self.logins.len();
            let refresh = self.take(at, &answer);
            let (_, sessions) =
                self.server.get("/api/auth/sessions", &self.as_ben(&text(&answer["access_token"]))).await;
            let id =
                sessions.as_array().unwrap().iter().find(|s| s["current"] == true).map(|s| text(&s["id"])).unwrap();
            let unused_until = self.now + UNUSED_SECONDS;
            self.logins.push(Login { id, alive: true, refresh, previous: None, spent: Vec::new(), unused_until });
        }
    }

    async fn refresh(&mut self) {
        let Some(at) = self.chance.index(self.logins.len()) else { return };
        let (now, which) = (self.now, self.chance.below(6));
        let login = &self.logins[at];
        let token = match which {
            0 => login.previous.as_ref().map(|(token, _)| token),
            1 => self.chance.index(login.spent.len()).map(|at| &login.spent[at]),
            _ => Some(&login.refresh),
        };
        let token = token.unwrap_or(&login.refresh).clone();
        let (status, answer) =
            self.server.ask("POST", "/api/auth/refresh", None, Some(json!({"refresh_token": token}))).await;
        let login = &mut self.logins[at];
        let open = login.alive && now < login.unused_until;
        let again = login.previous.as_ref().is_some_and(|(old, since)| *old == token && now - since <= GRACE_SECONDS);
        if open && token == login.refresh {
            assert_eq!(status, 200, "{answer}");
            let next = text(&answer["refresh_token"]);
            let used = std::mem::replace(&mut login.refresh, next);
            login.spent.extend(login.previous.replace((used, now)).map(|(token, _)| token));
            login.unused_until = now + UNUSED_SECONDS;
            self.take(at, &answer);
        } else if open && again {
            assert_eq!((status, text(&answer["refresh_token"])), (200, login.refresh.clone()));
            self.take(at, &answer);
        } else {
            assert_eq!(status, 401, "{answer}");
            login.alive &= !open;
        }
    }

    /// Ends logins: all, or all but one.
    fn end_all(&mut self, but: Option<usize>) {
        self.logins
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| Some(*at) != but)
            .for_each(|(_, login)| login.alive = false);
    }

    async fn administer(&mut self, change: Value) {
        let path = format!("/api/admin/users/{}", self.ben.id);
        let (status, answer) = self.server.ask("PATCH", &path, Some(&self.admin), Some(change)).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn end(&mut self) {
        let Some((at, who, _)) = self.bearer() else { return };
        match self.chance.below(3) {
            0 => {
                assert_eq!(self.server.post("/api/auth/logout", &who, json!({})).await.0, 204);
                self.logins[at].alive = false;
            }
            1 => {
                let other = self.chance.index(self.logins.len()).unwrap();
                let path = format!("/api/auth/sessions/{}", self.logins[other].id);
                let (status, _) = self.server.ask("DELETE", &path, Some(&who.token), None).await;
                assert_eq!(status, if self.logins[other].alive { 204 } else { 404 });
                self.logins[other].alive = false;
            }
            _ => {
                let next = format!("password {}", self.chance.below(1_000_000));
                let body = json!({"current_password": self.password, "new_password": next});
                assert_eq!(self.server.post("/api/auth/password", &who, body).await.0, 204);
                self.password = next;
                self.end_all(Some(at));
            }
        }
    }

    async fn personal(&mut self) {
        let Some((_, who, _)) = self.bearer() else { return };
        match self.chance.index(self.pats.len()).filter(|_| self.chance.below(3) == 0) {
            Some(at) => {
                let path = format!("/api/auth/tokens/{}", self.pats[at].id);
                self.server.ask("DELETE", &path, Some(&who.token), None).await;
                self.pats[at].alive = false;
            }
            None => {
                let ends = (self.chance.below(2) == 0).then_some(300);
                let body = json!({"name": "bot", "scopes": ["rooms:read", "chat:read"], "expires_in": ends});
                let (status, made) = self.server.post("/api/auth/tokens", &who, body).await;
                assert_eq!(status, 201, "{made}");
                let ends = ends.map(|seconds| self.now + seconds);
                let ground = Ground::Token(self.pats.len());
                self.pats.push(Pat { id: text(&made["id"]), alive: true, ends });
                self.bearers.push(Given { token: text(&made["token"]), ground, ends });
            }
        }
    }

    async fn derive(&mut self) {
        let Some((at, who, ends)) = self.bearer() else { return };
        let ground = Ground::Login(at);
        if self.chance.below(2) == 0 {
            let (status, made) = self.server.post("/api/auth/ws-ticket", &who, json!({})).await;
            assert_eq!(status, 201, "{made}");
            let token = text(&made["ticket"]);
            self.tickets.push(Given { token, ground, ends: Some(ends.min(self.now + TICKET_SECONDS)) });
        } else {
            let token = grant(self.server, &who, &self.room).await;
            self.capabilities.push(Given { token, ground, ends: Some(self.now + CAPABILITY_SECONDS) });
        }
    }

    /// Opens a connection with any credential, dead or alive.
    async fn open(&mut self) {
        let base = self.server.base.replacen("http", "ws", 1);
        let (url, lives, ground, ends) = if self.chance.below(3) == 0 {
            let Some(at) = self.chance.index(self.tickets.len()) else { return };
            let given = self.tickets.swap_remove(at);
            let lives = self.lives(given.ground, given.ends);
            (format!("{base}/ws?ticket={}", given.token), lives, given.ground, None)
        } else {
            let Some(at) = self.chance.index(self.bearers.len()) else { return };
            let given = &self.bearers[at];
            let lives = self.lives(given.ground, given.ends);
            (format!("{base}/ws?token={}", given.token), lives, given.ground, given.ends)
        };
        let mut peer = Peer::connect_to(&url).await.unwrap();
        if !lives {
            assert_eq!(peer.closed().await.0, 4401);
            return;
        }
        peer.hello().await;
        if url.contains("ticket=") {
            // It works once.
            let mut again = Peer::connect_to(&url).await.unwrap();
            assert_eq!(again.closed().await.0, 4401);
        } else {
            self.sockets.push(Socket { peer, ground, ends });
        }
    }

    /// Puts a newer credential in the place of a connection's.
    async fn renew(&mut self) {
        let Some(socket) = self.chance.index(self.sockets.len()) else { return };
        let Some(at) = self.chance.index(self.bearers.len()) else { return };
        let (token, ground, ends) = (self.bearers[at].token.clone(), self.bearers[at].ground, self.bearers[at].ends);
        let narrower = matches!((self.sockets[socket].ground, ground), (Ground::Login(_), Ground::Token(_)));
        let renews = self.lives(ground, ends) && !narrower;
        let socket = &mut self.sockets[socket];
        let answer = socket.peer.ask("system.auth", json!({"token": token})).await;
        assert_eq!(answer["type"], if renews { "system.ack" } else { "system.error" }, "{answer}");
        if renews {
            (socket.ground, socket.ends) = (ground, ends);
        }
    }

    async fn step(&mut self) {
        if self.disabled && self.chance.below(3) == 0 {
            self.disabled = false;
            self.administer(json!({"disabled": false})).await;
        }
        let what = self.chance.below(24);
        self.log.push(format!("{what} at {}", self.now));
        match what {
            0..5 => self.login().await,
            5..9 => self.refresh().await,
            9..11 => self.end().await,
            11..13 => self.personal().await,
            13..16 => self.derive().await,
            16..19 => self.open().await,
            19 => self.renew().await,
            20 => {
                self.disabled = true;
                self.administer(json!({"disabled": true})).await;
                self.end_all(None);
                self.pats.iter_mut().for_each(|pat| pat.alive = false);
            }
            21 => {
                self.password = format!("reset {}", self.chance.below(1_000_000));
                self.administer(json!({"password": self.password})).await;
                self.end_all(None);
            }
            _ => {
                let seconds = [1, 16, 61, 130, 301, ACCESS_SECONDS + 1, UNUSED_SECONDS][self.chance.below(7) as usize];
                self.server.advance(seconds);
                self.now += seconds;
            }
        }
    }

    /// Tries everything that was ever given.
    async fn look(&mut self) {
        for given in &self.bearers {
            let wanted = if self.lives(given.ground, given.ends) { 200 } else { 401 };
            let (status, answer) = self.server.ask("GET", "/api/auth/me", Some(&given.token), None).await;
            assert_eq!(status, wanted, "{:?} {answer}\n{:?}", given.ground, self.log);
        }
        if let Some((_, who, _)) = self.bearer() {
            for given in &self.capabilities {
                let usable = usable(self.server, &who, &given.token, &self.room).await;
                assert_eq!(usable.is_ok(), self.lives(given.ground, given.ends), "{usable:?}\n{:?}", self.log);
            }
        }
        for mut socket in std::mem::take(&mut self.sockets) {
            if self.lives(socket.ground, socket.ends) {
                assert_eq!(socket.peer.ask("system.ping", json!({})).await["type"], "system.pong", "{:?}", self.log);
                self.sockets.push(socket);
            } else {
                let (code, reason, _) = socket.peer.closed().await;
                assert!(matches!(code, 4401 | 4403), "{code} {reason}\n{:?}", self.log);
            }
        }
        // What has ended for good stays dead; a handful of it is enough.
        let dead: Vec<_> = (0..self.bearers.len())
            .filter(|at| !self.lives(self.bearers[*at].ground, self.bearers[*at].ends))
            .collect();
        for at in dead.iter().rev().skip(8) {
            self.bearers.remove(*at);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sequence_lets_a_dead_credential_through() {
    let minutes = (ACCESS_SECONDS / 60).to_string();
    let settings =
        [("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", minutes.as_str()), ("MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS", "1")];
    for seed in seeds(&[1, 2, 3]) {
        println!("seed {seed}");
        let server = Server::start_with(&settings).await;
        let ana = server.register("ana").await;
        let ben = server.register("ben").await;
        let room = server.room(&ana, "Cuisine").await;
        server.add(&ana, &room, &ben).await;
        assert_eq!(server.post("/api/auth/logout", &ben, json!({})).await.0, 204);
        let mut model = Model {
            server: &server,
            admin: String::new(),
            ben,
            room,
            chance: Chance::new(seed),
            now: 0,
            password: "correct horse battery".to_owned(),
            disabled: false,
            logins: Vec::new(),
            pats: Vec::new(),
            bearers: Vec::new(),
            tickets: Vec::new(),
            capabilities: Vec::new(),
            sockets: Vec::new(),
            log: Vec::new(),
        };
        for _ in 0..STEPS {
            let body = json!({"username": "ana", "password": "correct horse battery"});
            let (_, answer) = server.ask("POST", "/api/auth/login", None, Some(body)).await;
            model.admin = text(&answer["access_token"]);
            model.step().await;
            model.look().await;
        }
        assert!(model.logins.len() > 5, "chance did too little");
        server.stop().await;
    }
}
