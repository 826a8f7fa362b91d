//! What the client's task needs from the world: a connection and history. A trait, so that tests script both.

use std::{future::Future, time::Duration};

use mesh_protocol::{RoomId, limits::MAX_PAGE, model::Message};

use crate::{Connection, Credential, Error, History, Rest};

pub(crate) trait Upstream: Send + Sync + 'static {
    /// Opens a WebSocket.
    fn dial(&self, token: String) -> impl Future<Output = Result<Connection, Error>> + Send;

    /// Reads messages after `after`.
    fn history(
        &self,
        token: String,
        room_id: RoomId,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Message>, Error>> + Send + 'static;
}

/// The real one.
pub(crate) struct Server {
    pub(crate) rest: Rest,
    pub(crate) timeout: Duration,
}

impl Upstream for Server {
    async fn dial(&self, token: String) -> Result<Connection, Error> {
        let credential = Credential::Token(token);
        let opening = Connection::open(self.rest.base(), self.rest.tls(), &credential);
        tokio::time::timeout(self.timeout, opening).await.map_err(|_| Error::Timeout("the WebSocket's opening"))?
    }

    fn history(
        &self,
        token: String,
        room_id: RoomId,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Message>, Error>> + Send + 'static {
        let rest = self.rest.with_token(&token);
        async move {
            let query = History { after_seq: Some(after), limit: Some(limit.min(MAX_PAGE)), ..History::default() };
            rest.messages(room_id, &query).await
        }
    }
}
