//! What a personal access token may do: the one table of it. What does not stand here needs a full login.

use mesh_protocol::model::Scope;

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    const fn bit(scope: Scope) -> u8 {
        match scope {
            Scope::ChatRead => 1,
            Scope::ChatWrite => 2,
            Scope::RoomsRead => 4,
            Scope::Rtc => 8,
        }
    }

    /// Whether it has this one.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Whether it has all that the other has.
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that it has.
    pub fn list(self) -> Vec<Scope> {
        Scope::ALL.iter().copied().filter(|scope| self.has(*scope)).collect()
    }

    /// Reads words with a space between; what is no scope is none.
    pub fn parse(text: &str) -> Self {
        text.split(' ').filter_map(Scope::parse).collect()
    }

    /// Its words, with a space between.
    pub fn words(self) -> String {
        self.list().into_iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | Self::bit(scope)))
    }
}

/// What a personal access token needs for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing but to be valid.
    Nothing,
    /// A scope.
    Scope(Scope),
    /// No token will do.
    FullLogin,
}

impl Need {
    /// Whether a token with these scopes has it.
    pub fn is_met_by(self, scopes: Scopes) -> bool {
        match self {
            Self::Nothing => true,
            Self::Scope(scope) => scopes.has(scope),
            Self::FullLogin => false,
        }
    }
}

/// REST: method and path, as the router writes it.
const CALLS: &[(&str, &str, Need)] = &[
    ("GET", "/api/auth/me", Need::Scope(Scope::RoomsRead)),
    ("GET", "/api/rooms", Need::Scope(Scope::RoomsRead)),
    ("GET", "/api/rooms/{id}", Need::Scope(Scope::RoomsRead)),
    ("GET", "/api/rooms/{id}/members", Need::Scope(Scope::RoomsRead)),
    ("GET", "/api/rooms/{id}/messages", Need::Scope(Scope::ChatRead)),
    ("GET", "/api/rooms/{id}/messages/search", Need::Scope(Scope::ChatRead)),
    ("POST", "/api/rooms/{id}/messages", Need::Scope(Scope::ChatWrite)),
    ("PATCH", "/api/rooms/{id}/messages/{message_id}", Need::Scope(Scope::ChatWrite)),
    ("DELETE", "/api/rooms/{id}/messages/{message_id}", Need::Scope(Scope::ChatWrite)),
    ("PUT", "/api/rooms/{id}/messages/{message_id}/reactions/{emoji}", Need::Scope(Scope::ChatWrite)),
    ("DELETE", "/api/rooms/{id}/messages/{message_id}/reactions/{emoji}", Need::Scope(Scope::ChatWrite)),
    ("PUT", "/api/rooms/{id}/read", Need::Scope(Scope::ChatRead)),
    ("POST", "/api/auth/capability", Need::Scope(Scope::Rtc)),
    ("GET", "/api/ice-servers", Need::Scope(Scope::Rtc)),
    // For `/ws`, which every token opens; what may be done there depends on the scopes.
    ("POST", "/api/auth/ws-ticket", Need::Nothing),
];

/// WebSocket: a client's events.
const EVENTS: &[(&str, Need)] = &[
    // The connection's own affairs. What the welcome tells depends on the scopes.
    ("system.hello", Need::Nothing),
    ("system.ping", Need::Nothing),
    ("system.auth", Need::Nothing),
    ("presence.set", Need::Nothing),
    ("room.join", Need::Scope(Scope::ChatRead)),
    ("room.leave", Need::Scope(Scope::ChatRead)),
    ("chat.message.send", Need::Scope(Scope::ChatWrite)),
    ("chat.message.edit", Need::Scope(Scope::ChatWrite)),
    ("chat.message.delete", Need::Scope(Scope::ChatWrite)),
    ("chat.reaction.add", Need::Scope(Scope::ChatWrite)),
    ("chat.reaction.remove", Need::Scope(Scope::ChatWrite)),
    ("chat.typing", Need::Scope(Scope::ChatWrite)),
    ("chat.read", Need::Scope(Scope::ChatRead)),
    ("chat.history", Need::Scope(Scope::ChatRead)),
    ("rtc.offer", Need::Scope(Scope::Rtc)),
    ("rtc.answer", Need::Scope(Scope::Rtc)),
    ("rtc.ice", Need::Scope(Scope::Rtc)),
    ("rtc.bye", Need::Scope(Scope::Rtc)),
    ("p2p.session.request", Need::Scope(Scope::Rtc)),
    ("p2p.session.accept", Need::Scope(Scope::Rtc)),
    ("p2p.session.reject", Need::Scope(Scope::Rtc)),
    ("p2p.session.close", Need::Scope(Scope::Rtc)),
    ("file.share", Need::Scope(Scope::Rtc)),
    ("file.unshare", Need::Scope(Scope::Rtc)),
    ("terminal.share", Need::Scope(Scope::Rtc)),
    ("terminal.unshare", Need::Scope(Scope::Rtc)),
    ("terminal.control.request", Need::Scope(Scope::Rtc)),
    ("terminal.control.grant", Need::Scope(Scope::Rtc)),
    ("terminal.control.release", Need::Scope(Scope::Rtc)),
    ("terminal.control.revoke", Need::Scope(Scope::Rtc)),
    ("call.ring", Need::Scope(Scope::Rtc)),
    ("call.cancel", Need::Scope(Scope::Rtc)),
    ("call.decline", Need::Scope(Scope::Rtc)),
];

/// What a request needs; `path` is the route, not the request's own path.
pub fn for_call(method: &str, path: &str) -> Need {
    // A HEAD is answered as the GET, without its body.
    let method = if method == "HEAD" { "GET" } else { method };
    let found = CALLS.iter().find(|(m, p, _)| *m == method && *p == path);
    found.map_or(Need::FullLogin, |(_, _, need)| *need)
}

/// What a client's event needs.
pub fn for_event(name: &str) -> Need {
    EVENTS.iter().find(|(n, _)| *n == name).map_or(Need::FullLogin, |(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_needs_a_full_login() {
        assert_eq!(for_call("GET", "/api/rooms"), Need::Scope(Scope::RoomsRead));
        assert_eq!(for_call("HEAD", "/api/rooms"), Need::Scope(Scope::RoomsRead));
        for (method, path) in [("POST", "/api/rooms"), ("GET", "/api/rooms/"), ("GET", ""), ("GET", "/api/admin/users")]
        {
            assert_eq!(for_call(method, path), Need::FullLogin, "{method} {path}");
        }
        assert_eq!(for_event("file.offer"), Need::FullLogin);
        assert!(!Need::FullLogin.is_met_by(Scope::ALL.iter().copied().collect()));
    }

    #[test]
    fn scopes_are_a_set() {
        let two: Scopes = [Scope::Rtc, Scope::ChatRead, Scope::Rtc].into_iter().collect();
        assert_eq!(two.words(), "chat:read rtc");
        assert_eq!(Scopes::parse("rtc chat:read nonsense"), two);
        assert!(two.covers(Scopes::parse("rtc")) && !Scopes::parse("rtc").covers(two));
        assert!(Scopes::parse("").is_empty());
        for scope in Scope::ALL {
            assert_eq!(Scopes::parse(scope.as_str()).list(), [*scope]);
        }
    }
}
