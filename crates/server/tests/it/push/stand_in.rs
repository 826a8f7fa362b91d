//! An HTTP server that answers as it is told, and remembers what it was sent.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use crate::kit::soon;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As Gotify 2.3.0 answers.
    Taken,
    TakenByNtfy,
    /// The same when [`StandIn::let_go`] says so: it has it, and has not answered.
    Held,
    Status(u16),
    /// As Gotify: the answer repeats the message, escaped.
    Echo,
    /// 413 for what holds this word, else taken.
    TooLargeWith(&'static str),
    /// 200, but a web page.
    Page,
    Garbage,
    Reset,
    /// It has it, and never answers.
    Hang,
    /// It takes the connection, and reads nothing.
    Deaf,
    /// An answer without end.
    Endless,
}

#[derive(Clone, Debug)]
pub struct Seen {
    /// Its first line and headers.
    pub head: String,
    pub path: String,
    pub token: String,
    pub bearer: String,
    pub body: Value,
}

pub struct StandIn {
    pub url: String,
    answer: Arc<Mutex<Answer>>,
    seen: watch::Receiver<Vec<Seen>>,
    connections: watch::Receiver<usize>,
    gate: Arc<Semaphore>,
    task: tokio::task::JoinHandle<()>,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Answer::Taken));
        let (tell, seen) = watch::channel(Vec::new());
        let (count, connections) = watch::channel(0);
        let gate = Arc::new(Semaphore::new(0));
        let (tell, how, held, here) = (Arc::new(tell), answer.clone(), gate.clone(), url.clone());
        let task = tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                let (how, tell, held, here) = (how.clone(), tell.clone(), held.clone(), here.clone());
                tokio::spawn(async move { serve(io, how, tell, &held, &here).await });
            }
        });
        Self { url, answer, seen, connections, gate, task }
    }

    /// One that is held gets its answer.
    pub fn let_go(&self) {
        self.gate.add_permits(1);
    }

    /// Waits until so many connections were made.
    pub async fn wait_for_connections(&self, count: usize) {
        let mut connections = self.connections.clone();
        soon("a connection", connections.wait_for(|made| *made >= count)).await.unwrap();
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    pub async fn wait_for(&self, count: usize) {
        let mut seen = self.seen.clone();
        soon("a notification", seen.wait_for(|seen| seen.len() >= count)).await.unwrap();
    }

    pub fn titled(&self, title: &str) -> usize {
        self.ids(title).len()
    }

    pub fn ids(&self, title: &str) -> Vec<String> {
        let seen = self.seen();
        let ids = seen.iter().filter(|seen| seen.body["title"] == title);
        ids.map(|seen| seen.body["extras"]["mesh::notification"]["id"].to_string()).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes one request a connection.
async fn serve(
    mut io: TcpStream,
    answer: Arc<Mutex<Answer>>,
    tell: Arc<watch::Sender<Vec<Seen>>>,
    gate: &Semaphore,
    here: &str,
) {
    if *answer.lock().unwrap() == Answer::Deaf {
        // Until this test's runtime ends, or the other side's process: what was sent is read by nobody.
        return std::future::pending().await;
    }
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut piece = [0; 4096];
        let Ok(read @ 1..) = io.read(&mut piece).await else { return };
        bytes.extend_from_slice(&piece[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length: usize = header(&head, "content-length").parse().unwrap();
        if bytes.len() >= end + 4 + length {
            break (head, serde_json::from_slice::<Value>(&bytes[end + 4..]).unwrap());
        }
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let answer = *answer.lock().unwrap();
    let too_large = |word: &str| body["message"].as_str().is_some_and(|text| text.contains(word));
    let answer = match answer {
        Answer::TooLargeWith(word) if too_large(word) => Answer::Status(413),
        Answer::TooLargeWith(_) => Answer::Taken,
        other => other,
    };
    let (token, bearer) = (header(&head, "x-gotify-key"), header(&head, "authorization"));
    let echo = body["message"].as_str().unwrap_or_default().replace('<', "\\u003c");
    let seen = Seen { head, path, token, bearer, body };
    tell.send_modify(|all| all.push(seen));
    let json = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} Said\r\nlocation: {here}/elsewhere\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let text = match answer {
        Answer::Taken | Answer::TooLargeWith(_) => json(200, r#"{"id":2,"appid":1,"message":"m"}"#),
        Answer::Echo => json(200, &format!(r#"{{"id":2,"appid":1,"message":"{echo}"}}"#)),
        Answer::TakenByNtfy => json(200, r#"{"id":"abc","event":"message"}"#),
        Answer::Held => {
            gate.acquire().await.unwrap().forget();
            json(200, r#"{"id":2,"appid":1,"message":"m"}"#)
        }
        Answer::Status(status) => json(status, r#"{"error":"Said","errorCode":1,"errorDescription":"said"}"#),
        Answer::Page => json(200, "<html>Welcome to the hotel</html>"),
        Answer::Garbage => "\u{7}\u{7}\u{7} what?\r\n\r\n".to_owned(),
        Answer::Reset => {
            let _ = io.set_zero_linger();
            return;
        }
        Answer::Endless => {
            let _ = io.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"id\":").await;
            while io.write_all(&[b'1'; 4096]).await.is_ok() {}
            return;
        }
        Answer::Deaf => return,
        Answer::Hang => {
            // Until the other side goes.
            let _ = io.read(&mut [0; 1]).await;
            return;
        }
    };
    let _ = io.write_all(text.as_bytes()).await;
    let _ = io.shutdown().await;
}

fn header(head: &str, name: &str) -> String {
    let found = head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or(String::new(), |(_, value)| value.to_owned())
}
