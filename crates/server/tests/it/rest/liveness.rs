//! Logins, refreshes, logouts, changed passwords, disabled accounts, personal access tokens and what is made of them, in any
//! order: after each step every credential that was ever given is tried, and lives or is dead as a model says. The server's
//! clock stands still but where a step moves it, so that nothing which is only believed for a while would be forgotten by
//! itself. A sequence that fails is made as short as it can be, and told.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestError, TestRunner},
};
use serde_json::{Value, json};

use super::capabilities::{grant, usable};
use crate::kit::{Account, Peer, Server, seeds};

const CASES: u32 = 48;
/// Each dead credential is asked about once a step: this many are enough.
const DEAD: usize = 8;
const ACCESS_SECONDS: i64 = 600;
const UNUSED_SECONDS: i64 = 86_400;
const GRACE_SECONDS: i64 = 15;
const TICKET_SECONDS: i64 = 30;
const CAPABILITY_SECONDS: i64 = 120;
const TOKEN_SECONDS: i64 = 300;

/// What happens next. A number chooses among what there is, 0 the newest; where there is nothing of the kind, nothing happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Login,
    LoginWithAWrongPassword,
    Logout(usize),
    /// By a login, the end of any.
    EndLogin(usize, usize),
    Refresh(usize),
    /// With the token before the current one, and with an older one.
    RefreshWithThePrevious(usize),
    RefreshWithAnOldOne(usize, usize),
    ChangePassword(usize),
    ResetPassword,
    Disable,
    Enable,
    /// A personal access token, with or without an end.
    MakeToken(usize, bool),
    RevokeToken(usize, usize),
    /// By an access token or a personal one.
    AskForATicket(usize),
    UseATicket(usize),
    AskForACapability(usize),
    /// A connection by any token, dead or alive.
    Connect(usize),
    /// A connection's credential is replaced by any.
    Renew(usize, usize),
    Wait(i64),
}

impl Step {
    fn name(self) -> String {
        format!("{self:?}").split('(').next().unwrap_or_default().to_owned()
    }
}

fn step() -> impl Strategy<Value = Step> {
    // What came last is what most happens to.
    let any = || prop_oneof![2 => 0..2_usize, 1 => 0..64_usize];
    let seconds = prop_oneof![
        3 => Just(1),
        3 => Just(GRACE_SECONDS + 1),
        2 => Just(TICKET_SECONDS),
        2 => Just(CAPABILITY_SECONDS + 1),
        2 => Just(TOKEN_SECONDS),
        1 => Just(ACCESS_SECONDS + 1),
        1 => Just(UNUSED_SECONDS),
    ];
    // What is simpler stands first: a shorter sequence tends to it.
    prop_oneof![
        8 => Just(Step::Login),
        2 => any().prop_map(Step::Logout),
        1 => Just(Step::Disable),
        1 => any().prop_map(Step::ChangePassword),
        1 => Just(Step::ResetPassword),
        4 => (any(), prop::bool::ANY).prop_map(|(by, ends)| Step::MakeToken(by, ends)),
        3 => (any(), any()).prop_map(|(by, which)| Step::RevokeToken(by, which)),
        7 => any().prop_map(Step::Connect),
        4 => any().prop_map(Step::AskForATicket),
        5 => any().prop_map(Step::UseATicket),
        3 => any().prop_map(Step::AskForACapability),
        8 => any().prop_map(Step::Refresh),
        3 => any().prop_map(Step::RefreshWithThePrevious),
        2 => (any(), any()).prop_map(|(login, which)| Step::RefreshWithAnOldOne(login, which)),
        1 => (any(), any()).prop_map(|(by, which)| Step::EndLogin(by, which)),
        5 => (any(), any()).prop_map(|(socket, by)| Step::Renew(socket, by)),
        4 => Just(Step::Enable),
        1 => Just(Step::LoginWithAWrongPassword),
        5 => seconds.prop_map(Step::Wait),
    ]
}

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
struct Model<'a> {
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
    async fn new(server: &'a Server, room: &'a str, name: &str) -> Self {
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
        let body = json!({"name": "bot", "scopes": ["rooms:read", "chat:read"], "expires_in": ends});
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
    async fn step(&mut self, step: Step) -> Option<()> {
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
                let (at, who) = self.login_that_lives(by)?;
                let (token, ends) = (grant(self.server, &who, self.room).await, Some(self.now + CAPABILITY_SECONDS));
                self.capabilities.push(Given { token, ground: Ground::Login(at), ends });
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
    async fn look(&mut self) {
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
    async fn refresh_all(&mut self) {
        for at in 0..self.logins.len() {
            self.refresh(at, self.logins[at].refresh.clone()).await;
        }
    }
}

#[test]
fn no_sequence_lets_a_dead_credential_through() {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    // Longer than a failure takes that is answered at once; where one waits in vain for a close, this is the bound.
    config.max_shrink_time = 300_000;
    let usual = std::env::var_os("PROPTEST_CASES").is_none();
    if usual {
        config.cases = CASES;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(seeds(&[1])[0]);
    }
    println!("{:?}, {} cases", config.rng_seed, config.cases);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let minutes = (ACCESS_SECONDS / 60).to_string();
    let settings =
        [("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", minutes.as_str()), ("MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS", "1")];
    let (server, room) = runtime.block_on(async {
        let server = Server::start_with(&settings).await;
        let ana = server.register("ana").await;
        let room = server.room(&ana, "Cuisine").await;
        (server, room)
    });
    let (case, did) = (Cell::new(0_u32), RefCell::new(BTreeMap::<String, u32>::new()));
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..50), |steps| {
        case.set(case.get() + 1);
        runtime.block_on(async {
            let mut model = Model::new(&server, &room, &format!("ben{}", case.get())).await;
            for step in steps {
                if model.step(step).await.is_some() {
                    *did.borrow_mut().entry(step.name()).or_default() += 1;
                }
                model.look().await;
            }
            model.refresh_all().await;
        });
        Ok(())
    });
    if let Err(TestError::Fail(reason, steps)) = &outcome {
        panic!("after {} sequences, the shortest that fails: {steps:?}\n{reason}", case.get());
    }
    outcome.unwrap();
    runtime.block_on(server.stop());
    let did = did.into_inner();
    println!("{did:?}");
    assert!(!usual || did.len() == 19, "chance did too little: {did:?}");
}
