//! The REST calls.

use std::{sync::Arc, time::Duration};

use mesh_protocol::{
    RoomId,
    credentials::TotpLoginRequest,
    limits::MAX_PAGE,
    model::{Member, Message, Room, User, Visibility},
    rest::{
        AddMemberRequest, CapabilityRequest, CapabilityResponse, CreateRoomRequest, Health, Info, LoginRequest,
        PostMessageRequest, Problem, RefreshRequest, RegisterRequest, TokenResponse,
    },
};
use reqwest::{
    Method, Url,
    header::{HeaderMap, LINK},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, base::Base};

/// Bytes of an answer at most: 200 messages of the longest kind fit several times.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// The REST API of one server, with or without a token. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    base: Base,
    tls: Arc<rustls::ClientConfig>,
    token: Option<Arc<str>>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    next: Option<Url>,
}

impl<T> Page<T> {
    /// Whether there is more: [`Rest::next_page`] reads it.
    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }
}

/// Which part of a room's messages; by default the latest 50.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct History {
    /// Only older ones: the newest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_seq: Option<u64>,
    /// Only newer ones: the oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// How many at most, up to 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

#[derive(Serialize)]
struct ListQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<Visibility>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
}

const NO_BODY: Option<&()> = None;

impl Rest {
    /// For the server at `base_url`, without a token.
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Tls`]; nothing is sent yet.
    pub fn new(base_url: &str) -> Result<Self, Error> {
        let base = Base::parse(base_url)?;
        let tls = base.tls()?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            // A redirect would take the token elsewhere, and the API has none. The WebSocket knows no proxies either.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("mesh-client/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, base, tls: Arc::new(tls), token: None })
    }

    /// The same server, with this access token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// Makes an account and logs it in.
    ///
    /// # Errors
    /// [`Error::Api`] with `username_taken`, `registration_closed` or what is wrong with the fields.
    pub async fn register(&self, request: &RegisterRequest) -> Result<TokenResponse, Error> {
        self.call(Method::POST, "api/auth/register", Some(request)).await
    }

    /// Logs in.
    ///
    /// # Errors
    /// [`Error::Api`] with `invalid_credentials`; with `totp_required` where a second factor is on: then
    /// [`Error::challenge`] is for [`Rest::login_totp`].
    pub async fn login(&self, request: &LoginRequest) -> Result<TokenResponse, Error> {
        self.call(Method::POST, "api/auth/login", Some(request)).await
    }

    /// Completes a login with a code of the second factor, or a recovery code.
    ///
    /// # Errors
    /// [`Error::Api`] with `invalid_code`; with `token_expired` where the challenge has ended: log in again.
    pub async fn login_totp(&self, request: &TotpLoginRequest) -> Result<TokenResponse, Error> {
        self.call(Method::POST, "api/auth/login/totp", Some(request)).await
    }

    /// Gives new tokens for a refresh token, which works once. [`Login`](crate::Login) does it by itself.
    ///
    /// # Errors
    /// [`Error::Api`] with `token_invalid` or `token_expired`: the login is over.
    pub async fn refresh(&self, request: &RefreshRequest) -> Result<TokenResponse, Error> {
        self.call(Method::POST, "api/auth/refresh", Some(request)).await
    }

    /// Ends the login of this token: its tokens and connections die at once.
    ///
    /// # Errors
    /// [`Error::Api`] where the token is not valid.
    pub async fn logout(&self) -> Result<(), Error> {
        self.call(Method::POST, "api/auth/logout", NO_BODY).await
    }

    /// The caller's account.
    ///
    /// # Errors
    /// [`Error::Api`] where the token is not valid.
    pub async fn me(&self) -> Result<User, Error> {
        self.call(Method::GET, "api/auth/me", NO_BODY).await
    }

    /// Makes a room, owned by the caller.
    ///
    /// # Errors
    /// [`Error::Api`] with what is wrong with the fields.
    pub async fn create_room(&self, request: &CreateRoomRequest) -> Result<Room, Error> {
        self.call(Method::POST, "api/rooms", Some(request)).await
    }

    /// The first page of the caller's rooms, newest activity first; with `Some(Visibility::Public)` of those that may
    /// be joined. `limit` is 50 unless given, at most 200.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn list_rooms(&self, visibility: Option<Visibility>, limit: Option<usize>) -> Result<Page<Room>, Error> {
        self.list("api/rooms", &ListQuery { visibility, limit }).await
    }

    /// Every page of [`Rest::list_rooms`].
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn all_rooms(&self, visibility: Option<Visibility>) -> Result<Vec<Room>, Error> {
        self.all(self.list_rooms(visibility, Some(MAX_PAGE)).await?).await
    }

    /// One room.
    ///
    /// # Errors
    /// [`Error::Api`] with `not_found`.
    pub async fn room(&self, room_id: RoomId) -> Result<Room, Error> {
        self.call(Method::GET, &format!("api/rooms/{room_id}"), NO_BODY).await
    }

    /// The first page of a room's members, by name.
    ///
    /// # Errors
    /// [`Error::Api`] with `not_found`.
    pub async fn list_members(&self, room_id: RoomId, limit: Option<usize>) -> Result<Page<Member>, Error> {
        self.list(&format!("api/rooms/{room_id}/members"), &ListQuery { visibility: None, limit }).await
    }

    /// Every page of [`Rest::list_members`].
    ///
    /// # Errors
    /// [`Error::Api`] with `not_found`.
    pub async fn members(&self, room_id: RoomId) -> Result<Vec<Member>, Error> {
        self.all(self.list_members(room_id, Some(MAX_PAGE)).await?).await
    }

    /// Makes somebody a member.
    ///
    /// # Errors
    /// [`Error::Api`] with `already_member`, `not_found`, `forbidden`.
    pub async fn add_member(&self, room_id: RoomId, request: &AddMemberRequest) -> Result<Member, Error> {
        self.call(Method::POST, &format!("api/rooms/{room_id}/members"), Some(request)).await
    }

    /// Messages, ascending by `seq`.
    ///
    /// # Errors
    /// [`Error::Api`] with `not_found`.
    pub async fn messages(&self, room_id: RoomId, history: &History) -> Result<Vec<Message>, Error> {
        Ok(self.list(&format!("api/rooms/{room_id}/messages"), history).await?.items)
    }

    /// Says something; the same `client_id` again gives the first message.
    ///
    /// # Errors
    /// [`Error::Api`] with `not_found`, `forbidden` or what is wrong with the fields.
    pub async fn post_message(&self, room_id: RoomId, request: &PostMessageRequest) -> Result<Message, Error> {
        self.call(Method::POST, &format!("api/rooms/{room_id}/messages"), Some(request)).await
    }

    /// Asks for a capability token: what the caller may ask of another peer, for a minute or three.
    ///
    /// # Errors
    /// [`Error::Api`], such as `not_found` where the caller is not in the room.
    pub async fn capability(&self, request: &CapabilityRequest) -> Result<CapabilityResponse, Error> {
        self.call(Method::POST, "api/auth/capability", Some(request)).await
    }

    /// The public keys that the server's tokens are signed with (RFC 7517); none where it signs with a shared secret.
    /// With them whoever gets a token verifies it without asking the server.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub async fn jwks(&self) -> Result<serde_json::Value, Error> {
        self.call(Method::GET, ".well-known/jwks.json", NO_BODY).await
    }

    /// What the server is; needs no token.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub async fn info(&self) -> Result<Info, Error> {
        self.call(Method::GET, "api/info", NO_BODY).await
    }

    /// Whether the process lives.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub async fn health(&self) -> Result<Health, Error> {
        self.call(Method::GET, "health", NO_BODY).await
    }

    /// Whether it can do its work.
    ///
    /// # Errors
    /// [`Error::Api`] with status 503, naming what is missing.
    pub async fn ready(&self) -> Result<Health, Error> {
        self.call(Method::GET, "ready", NO_BODY).await
    }

    /// What follows a page; none where it is the last.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn next_page<T: DeserializeOwned>(&self, page: &Page<T>) -> Result<Option<Page<T>>, Error> {
        match &page.next {
            Some(url) => self.page(self.http.get(url.clone())).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.tls)
    }

    async fn all<T: DeserializeOwned>(&self, mut page: Page<T>) -> Result<Vec<T>, Error> {
        let mut items = std::mem::take(&mut page.items);
        while let Some(mut next) = self.next_page(&page).await? {
            items.append(&mut next.items);
            page = next;
        }
        Ok(items)
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<Page<T>, Error> {
        self.page(self.http.get(self.base.join(path)?).query(query)).await
    }

    async fn page<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<Page<T>, Error> {
        let (items, url, headers) = self.send(request).await?;
        let next = next_link(&headers).map(|target| self.base.follow(&url, target)).transpose()?;
        Ok(Page { items, next })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let mut request = self.http.request(method, self.base.join(path)?);
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(self.send(request).await?.0)
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<(T, Url, HeaderMap), Error> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let mut response = request.send().await?;
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(Error::Protocol(format!("an answer of more than {MAX_ANSWER} bytes")));
            }
        }
        let status = response.status();
        if status.is_success() {
            // 204 has nothing to say.
            let body = if body.is_empty() { b"null" } else { body.as_slice() };
            let value =
                serde_json::from_slice(body).map_err(|e| Error::Protocol(format!("{}: {e}", response.url().path())))?;
            return Ok((value, response.url().clone(), std::mem::take(response.headers_mut())));
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Error::Api(Box::new(problem))),
            Err(_) => Err(Error::Protocol(format!("{}: status {status} without a problem", response.url().path()))),
        }
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").field("base", &self.base).field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}

/// The target of `rel="next"` (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        let mut rest = value;
        while let Some((target, after)) = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
            let (parameters, following) = after.split_once(",").unwrap_or((after, ""));
            let is_next = parameters.split(';').filter_map(|p| p.trim().split_once('=')).any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
            });
            if is_next {
                return Some(target);
            }
            rest = following;
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let link = |value: &'static str| {
            let headers = HeaderMap::from_iter([(LINK, reqwest::header::HeaderValue::from_static(value))]);
            next_link(&headers).map(str::to_owned)
        };
        assert_eq!(link(r#"</a?cursor=x,y>; rel="next""#).as_deref(), Some("/a?cursor=x,y"));
        assert_eq!(link(r#"</b>; rel=prev, </a>; title="x"; rel="last next""#).as_deref(), Some("/a"));
        assert_eq!(link(r#"</b>; rel="prev""#), None);
        assert_eq!(link("nothing"), None);
    }
}
