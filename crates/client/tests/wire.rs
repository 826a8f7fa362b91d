//! The real wire: TCP, HTTP and WebSocket, against a server that follows a script.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions here")]

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use mesh_client::{Client, Config, Connection, Credential, Error, Event, FixedToken, History, Incoming, Rest};
use mesh_protocol::{
    ErrorCode, RoomId,
    event::{ClientEvent, ServerEvent, chat::MessageSend, system},
    model::PeerType,
    rest::{CreateRoomRequest, LoginRequest},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::CloseFrame,
    },
};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one HTTP request; gives its head and its body.
async fn http(listener: &TcpListener, status: &str, headers: &str, body: Value) -> (String, Value) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = vec![];
    let (head, length) = loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "half a request");
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            break (head, end + 4 + length.unwrap_or(0));
        }
    };
    while bytes.len() < length {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "half a body");
    }
    let text = body.to_string();
    let answer =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    let body = &bytes[head.len() + 4..];
    (head, serde_json::from_slice(body).unwrap_or_default())
}

async fn accept(listener: &TcpListener) -> (Request, WebSocketStream<TcpStream>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut opening = None;
    #[expect(clippy::result_large_err, reason = "tungstenite's own signature")]
    let socket = accept_hdr_async(stream, |request: &Request, response: Response| {
        opening = Some(request.clone());
        Ok(response)
    });
    let socket = socket.await.unwrap();
    (opening.unwrap(), socket)
}

async fn receive(socket: &mut WebSocketStream<TcpStream>) -> Value {
    serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

async fn say(socket: &mut WebSocketStream<TcpStream>, event: Value) {
    socket.send(Message::text(event.to_string())).await.unwrap();
}

fn example(name: &str) -> Value {
    let path = format!("{}/../protocol/examples/server/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn answer(name: &str, question: &Value) -> Value {
    let mut event = example(name);
    event["reply_to"] = question["id"].clone();
    event
}

fn hello() -> system::Hello {
    system::Hello { peer_type: PeerType::Client, version: "1".into(), device_name: None }
}

fn user() -> Value {
    json!({"id": "01945f3c-8d2a-7c41-9b1e-2f6a5d0c7e11", "username": "ana", "display_name": "Ana", "email": null,
        "role": "admin", "created_at": "2026-01-02T03:04:05.678Z"})
}

fn room(name: &str) -> Value {
    let mut room = example("room.added")["payload"]["room"].take();
    room["name"] = name.into();
    room
}

#[tokio::test]
async fn rest_speaks_the_contract() {
    let (listener, address) = listen().await;
    let rest = Rest::new(&format!("http://{address}")).unwrap();

    let login = LoginRequest { username: "ana".into(), password: "correct horse".into() };
    let token =
        json!({"access_token": "T", "token_type": "bearer", "expires_in": 900, "refresh_token": "R", "user": user()});
    let (given, (head, body)) = tokio::join!(rest.login(&login), http(&listener, "200 OK", "", token));
    assert_eq!(given.unwrap().access_token, "T");
    assert!(head.starts_with("POST /api/auth/login HTTP/1.1\r\n") && !head.contains("uthorization"), "{head}");
    assert_eq!(body, json!({"username": "ana", "password": "correct horse"}));

    let rest = rest.with_token("T");
    let (me, (head, _)) = tokio::join!(rest.me(), http(&listener, "200 OK", "", user()));
    assert_eq!(me.unwrap().username, "ana");
    assert!(head.to_lowercase().contains("\r\nauthorization: bearer t"), "{head}");
    assert!(!format!("{rest:?}").contains("\"T\""));

    let request = CreateRoomRequest { name: "Cuisine".into(), description: None, visibility: None };
    let created = http(&listener, "201 Created", "location: /api/rooms/x\r\n", room("Cuisine"));
    let (made, (_, body)) = tokio::join!(rest.create_room(&request), created);
    assert_eq!((made.unwrap().name.as_str(), body), ("Cuisine", json!({"name": "Cuisine"})));

    let history = History { after_seq: Some(7), limit: Some(3), ..History::default() };
    let (_, (head, _)) =
        tokio::join!(rest.messages(RoomId::NOTHING, &history), http(&listener, "200 OK", "", json!([])));
    assert!(head.contains("/messages?after_seq=7&limit=3 "), "{head}");
}

#[tokio::test]
async fn rest_follows_pages_and_tells_problems() {
    let (listener, address) = listen().await;
    let rest = Rest::new(&format!("http://{address}/mesh")).unwrap().with_token("T");
    let server = async {
        let next = "link: </mesh/api/rooms?cursor=c>; rel=\"next\"\r\n";
        let (first, _) = http(&listener, "200 OK", next, json!([room("a"), room("b")])).await;
        let (second, _) = http(&listener, "200 OK", "", json!([room("c")])).await;
        (first, second)
    };
    let (rooms, (first, second)) = tokio::join!(rest.all_rooms(None), server);
    assert_eq!(rooms.unwrap().iter().map(|room| room.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(first.starts_with("GET /mesh/api/rooms?limit=200 "), "{first}");
    assert!(second.starts_with("GET /mesh/api/rooms?cursor=c "), "{second}");

    let problem = json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "There is no such room.", "code": "not_found"});
    let not_found = http(&listener, "404 Not Found", "content-type: application/problem+json\r\n", problem);
    let (answer, _) = tokio::join!(rest.room(RoomId::NOTHING), not_found);
    match answer {
        Err(Error::Api(problem)) => assert_eq!((problem.status, problem.code.as_str()), (404, "not_found")),
        other => panic!("{other:?}"),
    }

    let (answer, _) = tokio::join!(rest.health(), http(&listener, "502 Bad Gateway", "", json!("<html>")));
    assert!(matches!(answer, Err(Error::Protocol(_))), "{answer:?}");
    // A redirect would take the token elsewhere.
    let elsewhere = http(&listener, "302 Found", "location: http://elsewhere/\r\n", json!(null));
    assert!(matches!(tokio::join!(rest.me(), elsewhere).0, Err(Error::Protocol(_))));
    drop(listener);
    assert!(matches!(rest.health().await, Err(Error::Transport(_))));
}

#[tokio::test]
async fn a_connection_is_typed_and_raw() {
    let (listener, address) = listen().await;
    let base = format!("http://{address}");
    let credential = Credential::Token("T".to_owned());
    let (connection, (opening, mut socket)) = tokio::join!(Connection::connect(&base, &credential), accept(&listener));
    let mut connection = connection.unwrap();
    assert_eq!(
        (opening.uri().to_string().as_str(), &opening.headers()["authorization"]),
        ("/ws", &"Bearer T".parse().unwrap())
    );

    let peer_id = "peer_123".parse().unwrap();
    let (welcome, hi) = tokio::join!(connection.hello(hello(), Some(&peer_id)), async {
        let hi = receive(&mut socket).await;
        say(&mut socket, answer("system.welcome", &hi)).await;
        hi
    });
    assert_eq!(welcome.unwrap().peer_id, peer_id);
    assert_eq!((hi["type"].as_str(), hi["from"].as_str()), (Some("system.hello"), Some("peer_123")));

    // What comes before the answer is kept, in order.
    let send = MessageSend { room_id: RoomId::NOTHING, content: "hi".into(), client_id: None, reply_to_id: None };
    let send = ClientEvent::MessageSend(send);
    let (sent, ()) = tokio::join!(connection.request(&send), async {
        let question = receive(&mut socket).await;
        say(&mut socket, example("room.member.added")).await;
        say(&mut socket, json!({"type": "weather.changed", "from": "server", "payload": {"sun": true}})).await;
        say(&mut socket, answer("chat.message.created", &question)).await;
    });
    match sent.unwrap() {
        Incoming::Event { head, event } => {
            assert_eq!(head.from.as_deref(), Some("peer_123"));
            assert!(matches!(*event, ServerEvent::MessageCreated(created) if created.seq == 42));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(connection.recv().await.unwrap().event(), Some(ServerEvent::MemberAdded(_))));
    match connection.recv().await.unwrap() {
        Incoming::Unknown { head, payload } => {
            assert_eq!((head.kind.as_str(), payload), ("weather.changed", json!({"sun": true})));
        }
        other => panic!("{other:?}"),
    }

    let (refused, ()) = tokio::join!(connection.request(&send), async {
        let question = receive(&mut socket).await;
        say(&mut socket, answer("system.error", &question)).await;
    });
    assert!(matches!(refused, Err(Error::Refused(error)) if error.code == ErrorCode::RateLimited));

    // A frame that is no event does not end the connection; a close does, again and again.
    socket.send(Message::text("nonsense")).await.unwrap();
    socket.close(Some(CloseFrame { code: 4409.into(), reason: "replaced".into() })).await.unwrap();
    assert!(matches!(connection.recv().await, Err(Error::Protocol(_))));
    for _ in 0..2 {
        match connection.recv().await {
            Err(Error::Closed { code, reason }) => assert_eq!((code, reason.as_str()), (Some(4409), "replaced")),
            other => panic!("{other:?}"),
        }
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn credentials_in_the_url() {
    let (listener, address) = listen().await;
    let base = format!("http://{address}");
    for (credential, path) in [
        (Credential::Ticket("a b".to_owned()), "/ws?ticket=a+b"),
        (Credential::QueryToken("T".to_owned()), "/ws?token=T"),
        (Credential::None, "/ws"),
    ] {
        let (connection, (opening, _socket)) = tokio::join!(Connection::connect(&base, &credential), accept(&listener));
        connection.unwrap();
        assert_eq!(opening.uri().to_string(), path);
        assert!(opening.headers().get("authorization").is_none());
    }
    assert_eq!(format!("{:?}", Credential::Token("secret".into())), "Token(…)");
    let refused = http(&listener, "403 Forbidden", "", json!(null));
    let credential = Credential::None;
    let (connection, _) = tokio::join!(Connection::connect(&base, &credential), refused);
    assert!(matches!(connection, Err(Error::Upgrade(403))), "{connection:?}");
}

#[tokio::test]
async fn a_client_reads_history_over_http() {
    let (listener, address) = listen().await;
    let server = async {
        let (opening, mut socket) = accept(&listener).await;
        assert_eq!(opening.headers()["authorization"], "Bearer T");
        let hi = receive(&mut socket).await;
        say(&mut socket, answer("system.welcome", &hi)).await;
        let join = receive(&mut socket).await;
        let mut joined = answer("room.joined", &join);
        joined["payload"]["gap"] = true.into();
        say(&mut socket, joined).await;
        let mut message = example("chat.message.created")["payload"]["message"].take();
        message["seq"] = 41.into();
        let (head, _) = http(&listener, "200 OK", "", json!([message])).await;
        assert!(head.contains("/messages?after_seq=7&limit=200 "), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer t"), "{head}");
        say(&mut socket, example("chat.message.created")).await;
        socket
    };
    let application = async {
        let room_id = serde_json::from_value(example("room.joined")["payload"]["room_id"].take()).unwrap();
        let (client, mut events) =
            Client::connect(Config::new(format!("http://{address}"), FixedToken::new("T"))).await.unwrap();
        client.join_since(room_id, 7).await.unwrap();
        let mut told = vec![];
        while told.len() < 3 {
            match events.recv().await.unwrap() {
                Event::Message(created) => told.push(created.seq),
                Event::Gap { after_seq, to_seq, .. } => told.push(after_seq * 100 + to_seq),
                Event::Connected(_) | Event::Joined(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, [41, 741, 42]);
    };
    tokio::join!(server, application);
}
