//! HTTP as a load generator speaks it: one connection, one request after the other.

use std::sync::Arc;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Fallible, wire::find};

const MAX_HEAD: usize = 64 * 1024;

/// A connection to a server's REST interface, kept alive.
pub(super) struct Http {
    addr: Arc<str>,
    io: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Http {
    pub(super) fn new(addr: &Arc<str>) -> Self {
        Self { addr: addr.clone(), io: None, buffer: Vec::new() }
    }

    /// Asks and reads the answer: status and body.
    ///
    /// # Errors
    /// Where the server cannot be reached, or speaks something else.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Fallible<(u16, Vec<u8>)> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.addr);
        if !token.is_empty() {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        match body.map(Value::to_string) {
            Some(body) => request
                .push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())),
            None => request.push_str("\r\n"),
        }
        let answer = self.exchange(&request).await;
        if answer.is_err() {
            self.io = None;
        }
        answer.map_err(|e| format!("{method} {path}: {e}"))
    }

    async fn exchange(&mut self, request: &str) -> Result<(u16, Vec<u8>), String> {
        let told = |e: std::io::Error| e.to_string();
        // One that was silent for long may have been closed meanwhile; nothing is asked on it then.
        if self.io.as_ref().is_some_and(|io| matches!(io.try_read(&mut [0]), Ok(0))) {
            self.io = None;
        }
        let io = match &mut self.io {
            Some(io) => io,
            None => {
                let io = TcpStream::connect(&*self.addr)
                    .await
                    .map_err(|e| format!("cannot connect to {}: {e}", self.addr))?;
                io.set_nodelay(true).map_err(told)?;
                self.io.insert(io)
            }
        };
        io.write_all(request.as_bytes()).await.map_err(told)?;
        self.buffer.clear();
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > MAX_HEAD || io.read_buf(&mut self.buffer).await.map_err(told)? == 0 {
                return Err("the answer has no whole head".to_owned());
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("the answer has no status")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let whole = end + length.ok_or("the answer does not say how long it is")?;
        while self.buffer.len() < whole {
            if io.read_buf(&mut self.buffer).await.map_err(told)? == 0 {
                return Err("the answer broke off".to_owned());
            }
        }
        Ok((status, self.buffer.split_off(end)))
    }

    /// Asks for something that must be granted; the body as JSON.
    ///
    /// # Errors
    /// In the server's words, where it refuses.
    pub(super) async fn must(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Fallible<Value> {
        let (status, body) = self.ask(method, path, token, body).await?;
        if !(200..300).contains(&status) {
            return Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body)));
        }
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_closed_while_silent_is_made_anew() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr: Arc<str> = server.local_addr().unwrap().to_string().into();
        let served = async move {
            for answer in [b"one", b"two"] {
                let (mut io, _) = server.accept().await.unwrap();
                let mut request = Vec::new();
                while find(&request, b"\r\n\r\n").is_none() {
                    assert_ne!(io.read_buf(&mut request).await.unwrap(), 0);
                }
                io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await.unwrap();
                io.write_all(answer).await.unwrap();
            }
        };
        let asked = async {
            let mut http = Http::new(&addr);
            assert_eq!(http.ask("GET", "/", "", None).await.unwrap(), (200, b"one".to_vec()));
            // Readable: what the other side has closed.
            let closed = http.io.as_ref().unwrap().readable();
            tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap().unwrap();
            assert_eq!(http.ask("GET", "/", "", None).await.unwrap(), (200, b"two".to_vec()));
        };
        tokio::join!(served, asked);
    }
}
