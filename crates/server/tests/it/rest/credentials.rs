//! No sequence of login, refresh, logout, password change and disabling lets a dead credential through: a model of what
//! must be alive is kept beside the server, and every credential ever given is tried after each step.

use serde_json::{Value, json};

use crate::kit::{Account, Server};

/// A login in the model.
struct Login {
    alive: bool,
    /// Every access token that it gave.
    access: Vec<String>,
    /// The refresh token in use, and the one before it with the second at which it was replaced.
    current: String,
    previous: Option<(String, i64)>,
    dead: Vec<String>,
}

struct World {
    server: Server,
    admin: Account,
    user: String,
    password: String,
    disabled: bool,
    logins: Vec<Login>,
    now: i64,
}

/// A small generator of its own: the seed says it all.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl World {
    async fn new() -> Self {
        let server = Server::start().await;
        let admin = server.register("admin").await;
        let body = json!({"username": "ana", "password": "password number 0"});
        let (status, user) = server.post("/api/admin/users", &admin, body).await;
        assert_eq!(status, 201, "{user}");
        let user = text(&user["id"]);
        let (disabled, logins) = (false, Vec::new());
        Self { server, admin, user, password: "password number 0".to_owned(), disabled, logins, now: 0 }
    }

    async fn login(&mut self) {
        let body = json!({"username": "ana", "password": self.password});
        let (status, answer) = self.server.ask("POST", "/api/auth/login", None, Some(body)).await;
        assert_eq!(status, if self.disabled { 401 } else { 200 }, "{answer}");
        if status == 200 {
            let (access, current) = (vec![text(&answer["access_token"])], text(&answer["refresh_token"]));
            self.logins.push(Login { alive: true, access, current, previous: None, dead: Vec::new() });
        }
    }

    async fn refresh(&mut self, dice: &mut Dice) {
        if self.logins.is_empty() {
            return;
        }
        let index = dice.below(self.logins.len());
        let login = &mut self.logins[index];
        // Most often the one in use, else the one before, else one long dead.
        let token = match dice.below(6) {
            0 if !login.dead.is_empty() => login.dead[dice.below(login.dead.len())].clone(),
            1 | 2 => login.previous.as_ref().map_or_else(|| login.current.clone(), |(token, _)| token.clone()),
            _ => login.current.clone(),
        };
        let body = json!({"refresh_token": token});
        let (status, answer) = self.server.ask("POST", "/api/auth/refresh", None, Some(body)).await;
        let in_grace = login.previous.as_ref().is_some_and(|(old, at)| *old == token && self.now - at <= 15);
        if !login.alive {
            assert_eq!(status, 401, "a dead login was refreshed: {answer}");
        } else if token == login.current {
            assert_eq!(status, 200, "{answer}");
            let next = text(&answer["refresh_token"]);
            let used = std::mem::replace(&mut login.current, next);
            if let Some((older, _)) = login.previous.replace((used, self.now)) {
                login.dead.push(older);
            }
            login.access.push(text(&answer["access_token"]));
        } else if in_grace {
            assert_eq!((status, &answer["refresh_token"]), (200, &json!(login.current)), "a lost reply is given again");
            login.access.push(text(&answer["access_token"]));
        } else {
            assert_eq!(status, 401, "a used refresh token passed: {answer}");
            login.alive = false;
        }
    }

    async fn logout(&mut self, dice: &mut Dice) {
        let Some(index) = self.pick(dice) else { return };
        let token = self.logins[index].access[0].clone();
        let (status, _) = self.server.ask("POST", "/api/auth/logout", Some(&token), None).await;
        assert_eq!(status, 204);
        self.logins[index].alive = false;
    }

    async fn change_password(&mut self, dice: &mut Dice) {
        let Some(index) = self.pick(dice) else { return };
        let next = format!("password number {}", dice.below(1_000_000));
        let body = json!({"current_password": self.password, "new_password": next});
        let token = self.logins[index].access[0].clone();
        let (status, answer) = self.server.ask("POST", "/api/auth/password", Some(&token), Some(body)).await;
        assert_eq!(status, 204, "{answer}");
        self.password = next;
        for (other, login) in self.logins.iter_mut().enumerate() {
            login.alive &= other == index;
        }
    }

    async fn set_disabled(&mut self, disabled: bool) {
        let path = format!("/api/admin/users/{}", self.user);
        let body = Some(json!({"disabled": disabled}));
        let (status, answer) = self.server.ask("PATCH", &path, Some(&self.admin.token), body).await;
        assert_eq!(status, 200, "{answer}");
        self.disabled = disabled;
        if disabled {
            self.logins.iter_mut().for_each(|login| login.alive = false);
        }
    }

    fn pick(&self, dice: &mut Dice) -> Option<usize> {
        let alive: Vec<usize> = (0..self.logins.len()).filter(|i| self.logins[*i].alive).collect();
        (!alive.is_empty()).then(|| alive[dice.below(alive.len())])
    }

    /// Every access token ever given works exactly as long as its login lives.
    async fn check(&self, step: &str) {
        for (index, login) in self.logins.iter().enumerate() {
            for token in &login.access {
                let (status, answer) = self.server.ask("GET", "/api/auth/me", Some(token), None).await;
                assert_eq!(status, if login.alive { 200 } else { 401 }, "login {index} after {step}: {answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sequence_of_steps_lets_a_dead_credential_through() {
    for seed in [1, 2, 3] {
        let mut dice = Dice(seed);
        let mut world = World::new().await;
        for number in 0..40 {
            let step = dice.below(10);
            match step {
                0 | 1 => world.login().await,
                2..=5 => world.refresh(&mut dice).await,
                6 => world.logout(&mut dice).await,
                7 => world.change_password(&mut dice).await,
                8 => {
                    let disabled = !world.disabled && dice.below(3) == 0;
                    world.set_disabled(disabled).await;
                }
                _ => {
                    let seconds = dice.below(20) as i64;
                    world.server.advance(seconds);
                    world.now += seconds;
                }
            }
            world.check(&format!("seed {seed}, step {number} ({step})")).await;
        }
        world.server.stop().await;
    }
}
