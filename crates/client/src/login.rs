//! A login that keeps itself good.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use mesh_protocol::rest::{RefreshRequest, TokenResponse};
use tokio::sync::Mutex;

use crate::{Error, Need, Rest, TokenFuture, TokenSource};

/// A login as a [`TokenSource`]: refreshes its tokens when the server asks for newer ones, so that a
/// [`Client`](crate::Client) stays connected for as long as the login lives. Cheap to clone; clones share the tokens.
#[derive(Clone)]
pub struct Login(Arc<Shared>);

struct Shared {
    rest: Rest,
    tokens: RwLock<TokenResponse>,
    /// A refresh token works once: one refresh at a time.
    refreshing: Mutex<()>,
}

impl Login {
    /// Of an answer to [`Rest::login`], [`Rest::login_totp`], [`Rest::register`] or [`Rest::refresh`].
    pub fn new(rest: &Rest, tokens: TokenResponse) -> Self {
        Self(Arc::new(Shared { rest: rest.clone(), tokens: RwLock::new(tokens), refreshing: Mutex::new(()) }))
    }

    /// The tokens as they are now: whoever keeps a login across restarts keeps its newest refresh token.
    pub fn tokens(&self) -> TokenResponse {
        self.0.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The REST API with the token that is good now.
    pub fn rest(&self) -> Rest {
        self.0.rest.with_token(&self.tokens().access_token)
    }

    /// Gets new tokens.
    ///
    /// # Errors
    /// [`Error::Api`] with status 401 where the login is over; others where it may be tried again.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _alone = self.0.refreshing.lock().await;
        let refresh_token = self.tokens().refresh_token;
        let tokens = self.0.rest.refresh(&RefreshRequest { refresh_token }).await?;
        *self.0.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }
}

impl TokenSource for Login {
    fn token(&self, need: Need) -> TokenFuture<'_> {
        Box::pin(async move {
            if need == Need::Replace {
                match self.refresh().await {
                    Ok(()) => {}
                    Err(error) if error.is_credential() => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            Ok(Some(self.tokens().access_token))
        })
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}
